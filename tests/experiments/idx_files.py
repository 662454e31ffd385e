"""Small data sets in IDX files."""

import gzip
import struct

import numpy as np

CODES = {"u1": 0x08, "i1": 0x09, ">i2": 0x0B, ">i4": 0x0C, ">f4": 0x0D, ">f8": 0x0E}
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz"


def header(dtype, *shape):
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, CODES[dtype], len(shape), *shape)


def write_idx(path, array, dtype="u1"):
    """Write an IDX file, gzipped if its name says so."""
    content = header(dtype, *array.shape) + array.astype(dtype).tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_folder(folder):
    """A small data set in four IDX files, two of them gzipped."""
    rng = np.random.default_rng(0)
    for split, n in (("train", 30), ("t10k", 9)):
        write_idx(folder / f"{split}-images-idx3-ubyte", rng.integers(0, 256, (n, 3, 4)))
        write_idx(folder / f"{split}-labels-idx1-ubyte.gz", np.arange(n) % 3)
    return folder
