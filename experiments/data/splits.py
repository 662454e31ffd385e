"""Splits of a data set into what is trained on and what is tested on; images keep their shape."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike

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


def scaled(arrays: tuple[np.ndarray, np.ndarray], dtype: DTypeLike = np.float64) -> Split:
    """Images and labels as a split: bytes scaled to 0..1 in `dtype`, other numbers as they are."""
    images, labels = arrays
    if images.dtype == np.uint8:
        images = (np.arange(256) / 255).astype(dtype)[images]  # no wider copy of all images
    return Split(images, labels)


def rows(dataset: Dataset) -> Dataset:
    """The data set with each image as a row of features, (N, F)."""
    train, test = (split._replace(x=_rows(split.x)) for split in (dataset.train, dataset.test))
    return dataset._replace(train=train, test=test)


def checked(train: Split, test: Split, dtype: DTypeLike = np.float64) -> Dataset:
    """The data set of two splits with the images in `dtype`, or the reason why they are not one."""
    for name, (x, y) in {"training": train, "test": test}.items():
        if len(x) == 0:
            raise UserError(f"The {name} data has no examples.")
        if len(x) != len(y):
            raise UserError(f"The {name} data has {len(x)} images but {len(y)} labels.")
        if x.size == 0:
            raise UserError(f"The {name} images have shape {x.shape[1:]}; expected at least one feature.")
        if not np.issubdtype(y.dtype, np.integer):
            raise UserError(f"The {name} labels have dtype {y.dtype}; expected integers.")
    features = [math.prod(split.x.shape[1:]) for split in (train, test)]
    if features[0] != features[1]:
        raise UserError(f"The training images have {features[0]} features, the test images {features[1]}.")
    if train.x.shape[1:] != test.x.shape[1:]:
        raise UserError(
            f"The training images have shape {train.x.shape[1:]}, the test images {test.x.shape[1:]}."
        )
    classes = _classes(train.y)
    for name, (_, y) in {"training": train, "test": test}.items():
        check_labels(name, y, classes)
    return Dataset(_cast("training", train, dtype), _cast("test", test, dtype), classes)


FEW_CLASSES = 256
"""As many as a label of one byte tells apart, in the files of MNIST; they may be there or not."""


def _classes(y: np.ndarray) -> int:
    """One more than the largest label, unless most of these classes have no example.

    A label of 2,000,000,000 is a mistake in the file, and as many outputs would not fit into memory.
    """
    classes, present = int(y.max()) + 1, len(np.unique(y))
    if classes > max(FEW_CLASSES, 2 * present):
        raise UserError(
            f"The training label of example {int(y.argmax())} is {classes - 1}, but only {present} labels "
            "occur; expected them to count the classes from 0."
        )
    return classes


def check_labels(name: str, y: np.ndarray, classes: int) -> None:
    """Raise `UserError` unless every label is in 0..classes-1."""
    wrong = np.flatnonzero((y < 0) | (y >= classes))
    if wrong.size:
        raise UserError(
            f"The {name} label of example {wrong[0]} is {y[wrong[0]]}; expected 0 to {classes - 1}."
        )


def _cast(name: str, split: Split, dtype: DTypeLike) -> Split:
    """The split as it will be trained on, where each number must still be finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        x = split.x.astype(dtype, copy=False)
    finite = np.isfinite(x)
    if not np.all(finite):
        place = int(np.argmin(finite))
        value = split.x.reshape(-1)[place]
        how = f"too large for {np.dtype(dtype)}" if np.isfinite(value) else "that is not finite"
        example, feature = divmod(place, math.prod(x.shape[1:]))
        raise UserError(
            f"The {name} data has a value {how}: {value} in feature {feature} of example {example} "
            "(counted from 0)."
        )
    return split._replace(x=x)


def _rows(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), math.prod(x.shape[1:]))
