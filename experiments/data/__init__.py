"""Data sets by name: images with their labels, checked before anything is trained."""

from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike

from experiments.common.errors import UserError, choose
from experiments.data import digits, idx, mnist
from experiments.data.splits import Dataset, Split, checked, rows, scaled

__all__ = ["SOURCES", "Dataset", "Split", "checked", "digits", "idx", "load", "mnist", "rows"]

SOURCES = {"digits": digits.load, "mnist": mnist.load}
"""From the name of `--data` to what loads it."""


def load(name: str, directory: Path | None, dtype: DTypeLike = np.float64) -> Dataset:
    """The data set `name`, or the user's own IDX files in `directory`, the images of these in `dtype`."""
    if directory is None:
        return SOURCES[choose("--data", name, SOURCES)]()
    try:
        return checked(*(scaled(arrays, dtype) for arrays in idx.read_directory(directory)), dtype=dtype)
    except MemoryError:
        raise UserError(f"--data-dir {directory} holds more than fits into the memory.") from None
