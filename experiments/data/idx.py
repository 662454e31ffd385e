"""IDX files, the format of MNIST: two zero bytes, a type, a rank, the sizes, and the values."""

import math
import stat
import sys
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from experiments.common import memory, regular_file
from experiments.common.errors import UserError
from experiments.data import gz

TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}

AXES = 64
"""The most that an array of NumPy has."""
WIDEST = 8
"""Bytes of the widest type that an array may be converted to."""
LONGEST_HEADER = 4 + 4 * 255


def read_directory(directory: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Images and labels of the training and of the test set, from the four files of MNIST's names.

    Where a file is there both plain and gzipped, as `gunzip --keep` leaves it, the plain one is read.
    """
    try:
        is_folder = stat.S_ISDIR(directory.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        is_folder = False
    except (OSError, ValueError) as error:
        raise UserError(f"--data-dir {directory} cannot be read: {regular_file.reason(error)}.") from None
    if not is_folder:
        raise UserError(f"--data-dir was {directory}; expected a folder with IDX files.")
    return [
        (read(_find(directory, images)), _labels(_find(directory, labels)))
        for images, labels in FILES.values()
    ]


def read(path: Path) -> np.ndarray:
    """The array in an IDX file, gzipped if its name says so, in the machine's byte order."""
    try:
        with regular_file.opened(path) as file:
            return _array(path, file)
    except (OSError, EOFError, zlib.error, MemoryError) as error:
        raise UserError(f"{path} cannot be read: {regular_file.reason(error)}.") from None


def _array(path: Path, file: BinaryIO) -> np.ndarray:
    """What is read and allocated is bounded by what the header declares, and that by the file."""
    gzipped = path.suffix == ".gz"

    def first(most: int) -> bytes | bytearray:
        file.seek(0)
        return gz.first(file, most) if gzipped else file.read(most)

    header = first(LONGEST_HEADER)
    if len(header) < 4 or header[:2] != b"\0\0" or header[2] not in TYPES:
        raise UserError(f"{path} is not an IDX file: it does not begin with its magic number.")
    dtype, rank = np.dtype(TYPES[header[2]]), header[3]
    if not 1 <= rank <= AXES:
        raise UserError(f"{path} declares {rank} axes; expected 1 to {AXES}.")
    start = 4 + 4 * rank
    if len(header) < start:
        raise UserError(f"{path} is truncated: it ends within its header.")
    shape = tuple(int(n) for n in np.frombuffer(header, ">u4", rank, 4))
    expected = start + dtype.itemsize * math.prod(shape)
    if 0 in shape and WIDEST * math.prod(n for n in shape if n) > sys.maxsize:
        raise UserError(f"{path} declares the shape {shape}, which no array can have.")
    there = regular_file.size(file)
    if not gzipped and there != expected:
        raise _length(path, shape, expected, there)
    if expected > memory.physical():
        raise UserError(f"{path} declares {expected} bytes, more than the memory of this machine.")
    content = first(expected + 1)
    if len(content) != expected:
        raise _length(path, shape, expected, len(content))
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


def _length(path: Path, shape: tuple[int, ...], expected: int, there: int) -> UserError:
    state = "truncated" if there < expected else "too long"
    has = "more" if there == expected + 1 else there  # nothing beyond was read
    return UserError(f"{path} is {state}: an array of shape {shape} needs {expected} bytes, it has {has}.")


def _find(directory: Path, name: str) -> Path:
    for path in (directory / name, directory / f"{name}.gz"):
        try:
            path.stat()
        except FileNotFoundError:
            continue
        except OSError:
            pass  # whoever reads it says why that cannot be done
        return path
    raise UserError(f"{directory} has neither {name} nor {name}.gz.")


def _labels(path: Path) -> np.ndarray:
    labels = read(path)
    if labels.ndim != 1:
        raise UserError(f"{path} has an array of shape {labels.shape}; expected one axis of labels.")
    return labels.astype(np.int64) if np.issubdtype(labels.dtype, np.integer) else labels
