"""Examples of another kind than the notes' network: one layer, its numbers, and what writes its lines.

A file of this folder has the numbers to begin with, the forward pass in plain JAX, which `by_jax` takes the
truth from, and `write`, which writes the lines. The letters are those of note 002: z before a function and a
behind it, delta for the derivative of the loss L by a z.
"""

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import NamedTuple

import numpy as np

from experiments.worked_example.layers import attention, batch_norm, by_jax, convolution, lstm
from experiments.worked_example.sheet import Key, Sheet


class Layer(NamedTuple):
    """What it is, in words; what writes its lines at a learning rate; and its numbers by JAX."""

    title: str
    beside: str
    write: Callable[[Sheet, float], None]
    truth: Callable[[float], Mapping[Key, np.ndarray]]


def _of(module: ModuleType) -> Layer:
    def write(sheet: Sheet, rate: float) -> None:
        module.write(sheet, rate)

    def truth(rate: float) -> Mapping[Key, np.ndarray]:
        return by_jax.truth(module.forward, module.GIVEN, module.TRAINED, rate)

    return Layer(module.TITLE, module.BESIDE, write, truth)


LAYERS = {
    "convolution": _of(convolution),
    "batch_norm": _of(batch_norm),
    "lstm": _of(lstm),
    "attention": _of(attention),
}
"""The examples by their names."""
