"""The ladder: from the values of an example to others, moved, scaled, rounded and pushed to extremes."""

from collections.abc import Callable

import numpy as np

Values = np.ndarray
Rung = Callable[[np.random.Generator, Values], Values]


def _zero_rows(rng: np.random.Generator, x: Values) -> Values:
    rows = np.array(x)
    if rows.ndim:
        rows[rng.random(rows.shape[0]) < 0.5] = 0
    return rows


def _large(x: Values) -> Values:
    """A thousand at least, but for zeros: what overflows does so far from zero, and on one side often."""
    return 1e3 * (x + np.sign(x))


def _tiny_variance(rng: np.random.Generator, x: Values) -> Values:
    return np.mean(x) + 1e-3 * (x - np.mean(x))


LADDER: dict[str, Rung] = {
    "moved": lambda rng, x: x * (1 + 0.3 * rng.normal(size=x.shape)),
    "small": lambda rng, x: 1e-3 * x,
    "large": lambda rng, x: _large(x),
    "large, negated": lambda rng, x: -_large(x),
    "saturated": lambda rng, x: np.where(rng.random(x.shape) < 0.75, 30 * x, x),
    "offset": lambda rng, x: x + 100,
    "tiny variance": _tiny_variance,
    "rounded": lambda rng, x: np.round(2 * x) / 2,
    "zero rows": _zero_rows,
}
"""From the example's values to others; the last two meet kinks and ties exactly."""
