"""IDX files, the format of MNIST: two zero bytes, a type, a rank, the sizes, and the values."""

import gzip
import zlib
from pathlib import Path

import numpy as np

from experiments.common.errors import UserError

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def read_directory(directory: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images and labels of the training and of the test set, from the four files of MNIST's names."""
    if not directory.is_dir():
        raise UserError(f"--data-dir was {directory}; expected a folder with IDX files.")
    return [
        (read(_find(directory, images)), _labels(_find(directory, labels)))
        for images, labels in FILES.values()
    ]


def read(path: Path) -> np.ndarray:
    """The array in an IDX file, gzipped or not, in the machine's byte order."""
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be read: {error}.") from None
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES:
        raise UserError(f"{path} is not an IDX file: it does not begin with its magic number.")
    rank, start = content[3], 4 + 4 * content[3]
    dtype = np.dtype(TYPES[content[2]])
    if rank == 0 or len(content) < start:
        raise UserError(f"{path} is truncated: it ends within its header.")
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", rank, 4))
    expected = start + dtype.itemsize * int(np.prod(shape, dtype=object))
    if len(content) != expected:
        state = "truncated" if len(content) < expected else "too long"
        raise UserError(
            f"{path} is {state}: an array of shape {shape} needs {expected} bytes, it has {len(content)}."
        )
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def _find(directory: Path, name: str) -> Path:
    for candidate in (directory / name, directory / f"{name}.gz"):
        if candidate.exists():
            return candidate
    raise UserError(f"{directory} has neither {name} nor {name}.gz.")


def _labels(path: Path) -> np.ndarray:
    labels = read(path)
    if labels.ndim != 1:
        raise UserError(f"{path} has an array of shape {labels.shape}; expected one axis of labels.")
    return labels.astype(np.int64) if np.issubdtype(labels.dtype, np.integer) else labels
