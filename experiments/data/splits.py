"""Splits of a data set into what is trained on and what is tested on; images keep their shape."""

import math
from typing import NamedTuple

import numpy as np

from experiments.common.errors import UserError


class Split(NamedTuple):
    """Images or rows of features (N, ...) and integer labels (N,)."""

    x: np.ndarray
    y: np.ndarray


class Dataset(NamedTuple):
    """What is trained on, what is tested on, and how many classes there are."""

    train: Split
    test: Split
    classes: int


def scaled(arrays: tuple[np.ndarray, np.ndarray]) -> Split:
    """Images and labels as a split: bytes scaled to 0..1, floating point as it is."""
    images, labels = arrays
    return Split(images / (255 if images.dtype == np.uint8 else 1), labels)


def rows(dataset: Dataset) -> Dataset:
    """The data set with each image as a row of features, (N, F)."""
    train, test = (split._replace(x=_rows(split.x)) for split in (dataset.train, dataset.test))
    return dataset._replace(train=train, test=test)


def checked(train: Split, test: Split) -> Dataset:
    """The data set of two splits, or the reason why they are not one."""
    for name, (x, y) in {"training": train, "test": test}.items():
        if len(x) == 0:
            raise UserError(f"The {name} data has no examples.")
        if len(x) != len(y):
            raise UserError(f"The {name} data has {len(x)} images but {len(y)} labels.")
        finite = np.isfinite(_rows(x))
        if not np.all(finite):
            example, feature = np.argwhere(~finite)[0]
            raise UserError(
                f"The {name} data has a value that is not finite: {_rows(x)[example, feature]} in feature "
                f"{feature} of example {example} (counted from 0)."
            )
        if not np.issubdtype(y.dtype, np.integer):
            raise UserError(f"The {name} labels have dtype {y.dtype}; expected integers.")
    features = [math.prod(split.x.shape[1:]) for split in (train, test)]
    if features[0] != features[1]:
        raise UserError(f"The training images have {features[0]} features, the test images {features[1]}.")
    if train.x.shape[1:] != test.x.shape[1:]:
        raise UserError(
            f"The training images have shape {train.x.shape[1:]}, the test images {test.x.shape[1:]}."
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


def _rows(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), math.prod(x.shape[1:]))
