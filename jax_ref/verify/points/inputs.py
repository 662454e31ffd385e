"""Random arguments in the shapes of an example: drawn anew on a ladder of scales, or perturbed.

The rungs that are a transformation of values are those of `ladder`, applied to normally distributed ones.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.points import ladder
from jax_ref.verify.trees import floats, is_floating

Values = np.ndarray
Draw = Callable[[np.random.Generator, tuple[int, ...]], Values]


def _normal(rung: str) -> Draw:
    """Normally distributed values, taken to a rung of the ladder of transformations."""
    return lambda rng, shape: ladder.LADDER[rung](rng, rng.normal(size=shape))


def _saturated(rng: np.random.Generator, shape: tuple[int, ...]) -> Values:
    """Far out on both sides, with some ordinary values between, as in a net that trains badly."""
    far = rng.choice([-1.0, 1.0], shape) * rng.uniform(20, 60, shape)
    return np.where(rng.random(shape) < 0.25, rng.normal(size=shape), far)


LADDER: dict[str, Draw] = {
    "ordinary": lambda rng, shape: rng.normal(size=shape),
    "small": _normal("small"),
    "large": lambda rng, shape: 1e3 * rng.normal(size=shape),
    "rounded": _normal("rounded"),
    "zero rows": _normal("zero rows"),
    "saturated": _saturated,
}
"""What floating point leaves are drawn from: rounded values make ties and meet kinks exactly."""


def redraw(example: PyTree, rung: str, rng: np.random.Generator) -> PyTree:
    """`example` with its floating point leaves drawn anew in float64, and the others as they are."""
    return jax.tree.map(lambda x: LADDER[rung](rng, x.shape) if is_floating(x) else x, example)


def perturbed(tree: PyTree, relative: Callable[[tuple[int, ...]], Values]) -> PyTree:
    """`tree` with x (1 + r), rounded to its dtype, for each floating leaf x; `relative(shape)` draws r."""

    def leaf(x: np.ndarray) -> np.ndarray:
        if not is_floating(x):
            return x
        return (np.asarray(x, np.float64) * (1 + relative(x.shape))).astype(x.dtype)

    return jax.tree.map(leaf, tree)


def nearby(args: PyTree, rng: np.random.Generator, units: int = 1) -> PyTree:
    """`args` with every floating point value moved by at most a unit in the last place of the finest dtype.

    Or by so many units; with a generator in the same state in the same direction.

    Values of a coarser dtype beside it stay as they are: what is in the finest is not allowed their rounding.
    """
    unit = min((float(jnp.finfo(x.dtype).eps) for x in floats(args)), default=0.0)
    return perturbed(args, lambda shape: units * rng.integers(-1, 2, shape) * unit)


def shifted(args: PyTree, rng: np.random.Generator, step: float) -> tuple[PyTree, PyTree]:
    """`args` in float64 with a random direction added, and taken away: a step in each entry's own size."""
    direction = jax.tree.map(lambda x: rng.normal(size=x.shape) if is_floating(x) else np.zeros(()), args)

    def moved(sign: float) -> PyTree:
        def leaf(x: Values, v: Values) -> Values:
            return x + sign * step * np.maximum(1, np.abs(x)) * v if is_floating(x) else x

        return jax.tree.map(leaf, args, direction)

    return moved(1), moved(-1)
