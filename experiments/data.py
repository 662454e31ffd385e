"""Data sets: images as rows of features, and their labels, checked before anything is trained."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments import idx, mnist
from experiments.errors import UserError, choose


class Split(NamedTuple):
    """Features (N, F) and integer labels (N,)."""

    x: np.ndarray
    y: np.ndarray


class Dataset(NamedTuple):
    """What is trained on, what is tested on, and how many classes there are."""

    train: Split
    test: Split
    classes: int


def digits() -> Dataset:
    """scikit-learn's 1,797 images of 8 x 8: four fifths to train on, a fifth to test on."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    train, test = train_test_split(np.arange(len(y)), test_size=0.2, random_state=0, stratify=y)
    return checked(Split(x[train] / 16, y[train]), Split(x[test] / 16, y[test]))


SOURCES = {"digits": digits, "mnist": lambda: checked(*map(as_split, mnist.load()))}


def load(name: str, directory: Path | None) -> Dataset:
    """The data set `name`, or the user's own IDX files in `directory`."""
    if directory is not None:
        return checked(*map(as_split, idx.read_directory(directory)))
    return SOURCES[choose("--data", name, SOURCES)]()


def as_split(arrays: tuple[np.ndarray, np.ndarray]) -> Split:
    """Images of any shape as rows; bytes scaled to 0..1, floating point as it is."""
    images, labels = arrays
    scale = 255 if images.dtype == np.uint8 else 1
    return Split(images.reshape(len(images), math.prod(images.shape[1:])) / scale, labels)


def checked(train: Split, test: Split) -> Dataset:
    """The data set of two splits, or the reason why they are not one."""
    for name, (x, y) in {"training": train, "test": test}.items():
        if len(x) == 0:
            raise UserError(f"The {name} data has no examples.")
        if len(x) != len(y):
            raise UserError(f"The {name} data has {len(x)} images but {len(y)} labels.")
        if not np.all(np.isfinite(x)):
            where = np.argwhere(~np.isfinite(x))[0]
            raise UserError(
                f"The {name} data has a value that is not finite: {x[tuple(where)]} in feature "
                f"{where[1]} of example {where[0]} (counted from 0)."
            )
        if not np.issubdtype(y.dtype, np.integer):
            raise UserError(f"The {name} labels have dtype {y.dtype}; expected integers.")
    if train.x.shape[1] != test.x.shape[1]:
        raise UserError(
            f"The training images have {train.x.shape[1]} features, the test images {test.x.shape[1]}."
        )
    classes = int(train.y.max()) + 1
    for name, (_, y) in {"training": train, "test": test}.items():
        check_labels(name, y, classes)
    return Dataset(train, test, classes)


def check_labels(name: str, y: np.ndarray, classes: int) -> None:
    """Raise `UserError` unless every label is in 0..classes-1."""
    wrong = np.flatnonzero((y < 0) | (y >= classes))
    if wrong.size:
        raise UserError(
            f"The {name} label of example {wrong[0]} is {y[wrong[0]]}; expected 0 to {classes - 1}."
        )
