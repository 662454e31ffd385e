"""A ladder of transformations of an example's values: moved, scaled, rounded and pushed to extremes.

Values are made from the example's, so that what is positive or sorted out by hand stays nearly so. A leaf
whose entries are all equal tells nothing, and is drawn anew.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.trees import is_floating

Values = np.ndarray
Rung = Callable[[np.random.Generator, Values], Values]


def large(x: Values) -> Values:
    """At least a thousand in magnitude, except zeros: overflow is far from zero, and often on one side."""
    return 1e3 * (x + np.sign(x))


def _tiny_variance(rng: np.random.Generator, x: Values) -> Values:
    return np.mean(x) + 1e-3 * (x - np.mean(x))


def _zero_rows(rng: np.random.Generator, x: Values) -> Values:
    rows = np.array(x)
    if rows.ndim:
        rows[rng.random(rows.shape[0]) < 0.5] = 0
    return rows


LADDER: dict[str, Rung] = {
    "moved": lambda rng, x: x * (1 + 0.3 * rng.normal(size=x.shape)),
    "small": lambda rng, x: 1e-3 * x,
    "large": lambda rng, x: large(x),
    "large, negated": lambda rng, x: -large(x),
    "saturated": lambda rng, x: np.where(rng.random(x.shape) < 0.75, 30 * x, x),
    "offset": lambda rng, x: x + 100,
    "tiny variance": _tiny_variance,
    "rounded": lambda rng, x: np.round(2 * x) / 2,
    "zero rows": _zero_rows,
}
"""From the values of a leaf to others; the last two meet kinks and ties exactly."""

AT_KINKS = ("rounded", "zero rows")
"""The rungs at which kinks and ties are met."""


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
