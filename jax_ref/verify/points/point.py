"""A point of evaluation: arguments of the function, and a cotangent of its output."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.trees import is_floating

EXAMPLE = "example"
"""The name of a point with an example's own values."""

EQUAL = "equal cotangents"
"""The name of a point with these values and a cotangent whose entries are all one number."""

BATCH = "a batch of "
"""The beginning of the names of its other batch sizes."""


class Point(NamedTuple):
    """Arguments and a cotangent of the output, NumPy arrays in the dtypes of the example; and a name."""

    name: str
    args: tuple[PyTree, ...]
    d_output: PyTree
    """None where the reference does not take the arguments."""

    @property
    def given(self) -> bool:
        """Whether its values are an example's own, or rows of it, and not of the verifier's making."""
        return self.name == EXAMPLE or self.resized

    @property
    def resized(self) -> bool:
        """Whether it is the example in another batch size."""
        return self.name.startswith(BATCH)


def cotangent(output: PyTree, rng: np.random.Generator) -> PyTree:
    """Random values in the shapes and dtypes of `output`; zeros of float0 where it is not floating."""
    return _like(output, lambda shape: rng.normal(size=shape))


def equal(output: PyTree) -> PyTree:
    """One number in all entries, as the gradient of a sum or a mean has it."""
    return _like(output, lambda shape: np.full(shape, 0.7))


def _like(output: PyTree, values: Callable[[tuple[int, ...]], np.ndarray]) -> PyTree:
    def leaf(x: Any) -> np.ndarray:
        if is_floating(x):
            return values(x.shape).astype(x.dtype)
        return np.zeros(x.shape, jax.dtypes.float0)

    return jax.tree.map(leaf, output)
