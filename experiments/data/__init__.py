"""Data sets by name: images with their labels, checked before anything is trained."""

from pathlib import Path

from experiments.common.errors import choose
from experiments.data import digits, idx, mnist
from experiments.data.splits import Dataset, Split, checked, rows, scaled

__all__ = ["SOURCES", "Dataset", "Split", "checked", "digits", "idx", "load", "mnist", "rows"]

SOURCES = {"digits": digits.load, "mnist": mnist.load}
"""From the name of `--data` to what loads it."""


def load(name: str, directory: Path | None) -> Dataset:
    """The data set `name`, or the user's own IDX files in `directory`."""
    if directory is not None:
        return checked(*map(scaled, idx.read_directory(directory)))
    return SOURCES[choose("--data", name, SOURCES)]()
