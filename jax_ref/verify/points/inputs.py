"""Arguments and cotangents to check a gradient at: a ladder of values in the shapes of an example."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

Values = np.ndarray
Rung = Callable[[np.random.Generator, tuple[int, ...]], Values]


def _zero_rows(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    values = rng.normal(size=shape)
    if shape:
        values[rng.random(shape[0]) < 0.5] = 0
    return values


def _saturated(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    """Far out on both sides, with some ordinary values between, as in a net that trains badly."""
    far = rng.choice([-1.0, 1.0], shape) * rng.uniform(20, 60, shape)
    return np.where(rng.random(shape) < 0.25, rng.normal(size=shape), far)


LADDER: dict[str, Rung] = {
    "ordinary": lambda rng, shape: rng.normal(size=shape),
    "small": lambda rng, shape: 1e-3 * rng.normal(size=shape),
    "large": lambda rng, shape: 1e3 * rng.normal(size=shape),
    "rounded": lambda rng, shape: np.round(2 * rng.normal(size=shape)) / 2,
    "zero rows": _zero_rows,
    "saturated": _saturated,
}
"""What floating point leaves are drawn from: rounded values make ties and meet kinks exactly."""


def redraw(example: PyTree, rung: str, rng: np.random.Generator) -> PyTree:
    """`example` with its floating point leaves drawn anew in float64, and the others as they are."""

    def leaf(x: np.ndarray) -> np.ndarray:
        return LADDER[rung](rng, x.shape) if np.issubdtype(x.dtype, np.floating) else x

    return jax.tree.map(leaf, example)


def nearby(args: PyTree, rng: np.random.Generator) -> PyTree:
    """`args` with every floating point value moved by at most a unit in the last place of the finest dtype.

    Values of a coarser dtype beside it stay as they are: what is in the finest is not allowed their rounding.
    """
    floating = [x.dtype for x in jax.tree.leaves(args) if jnp.issubdtype(x.dtype, jnp.floating)]
    unit = min((float(jnp.finfo(dtype).eps) for dtype in floating), default=0.0)

    def leaf(x: np.ndarray) -> np.ndarray:
        if not jnp.issubdtype(x.dtype, jnp.floating):
            return x
        step = rng.integers(-1, 2, x.shape) * unit
        return (np.asarray(x, np.float64) * (1 + step)).astype(x.dtype)

    return jax.tree.map(leaf, args)
