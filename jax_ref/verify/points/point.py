"""Points to check at, made from one example: its own values moved, scaled, rounded and pushed to extremes.

Values are made from the example's, so that what is positive or sorted out by hand stays nearly so. A leaf
whose entries are all equal tells nothing, and is drawn anew.
"""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.points.ladder import LADDER, Rung
from jax_ref.verify.trees import is_floating


class Point(NamedTuple):
    """Arguments and a cotangent of the output, NumPy arrays in the dtypes of the example; and a name."""

    name: str
    args: tuple[PyTree, ...]
    d_output: PyTree


def spread(args: tuple[PyTree, ...], rng: np.random.Generator) -> tuple[PyTree, ...]:
    """`args` as NumPy arrays, with floating leaves of equal entries drawn anew."""

    def leaf(x: Any) -> Any:
        if not is_floating(x):
            return x
        values = np.asarray(x)
        if values.size > 1 and np.all(values == values.ravel()[0]):
            return rng.normal(size=values.shape).astype(values.dtype)
        return values

    return jax.tree.map(leaf, args)


def climb(
    args: tuple[PyTree, ...],
    output: PyTree,
    rng: np.random.Generator,
    rungs: tuple[str, ...],
) -> list[Point]:
    """The example, and the points of the ladder named, each with a random cotangent of `output`'s shapes."""

    def moved(rung: Rung) -> tuple[PyTree, ...]:
        def leaf(x: Any) -> Any:
            return rung(rng, x.astype(np.float64)).astype(x.dtype) if is_floating(x) and x.size else x

        return jax.tree.map(leaf, args)

    found = [Point("example", args, cotangent(output, rng))]
    return found + [Point(name, moved(LADDER[name]), cotangent(output, rng)) for name in rungs]


def cotangent(output: PyTree, rng: np.random.Generator) -> PyTree:
    """Random values in the shapes and dtypes of `output`; zeros of float0 where it is not floating."""

    def leaf(x: Any) -> np.ndarray:
        if is_floating(x):
            return rng.normal(size=x.shape).astype(x.dtype)
        return np.zeros(x.shape, jax.dtypes.float0)

    return jax.tree.map(leaf, output)
