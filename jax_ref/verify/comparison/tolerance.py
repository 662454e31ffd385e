"""Norm-wise error bounds against the oracle, leaf by leaf, each by its own norm.

In float64 the bound is a multiple of rounding. In a narrower dtype it is what autodiff in that dtype
itself misses the oracle by: no fixed tolerance, so that neither is a rounding error an alarm nor a
mistake lost under one.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import DTypeLike
from numpy.typing import ArrayLike

FLOAT64 = 1e-12
"""Normwise relative error allowed in float64."""

ULPS = 4
"""Units in the last place allowed on top."""

ROOM = 0.5
"""Share of a dtype's range that a true value must be within for an infinity in its place to be wrong."""


def distance(actual: ArrayLike, oracle: ArrayLike) -> float:
    """Euclidean distance in float64; equal infinities and NaNs at the same place count as equal."""
    a, e = np.asarray(actual, np.float64), np.asarray(oracle, np.float64)
    same = (a == e) | (np.isnan(a) & np.isnan(e))
    with np.errstate(over="ignore", invalid="ignore"):
        return _norm(np.subtract(a, e, where=~same, out=np.zeros(a.shape)))


def size(oracle: ArrayLike) -> float:
    """Euclidean norm in float64 of the finite entries."""
    e = np.asarray(oracle, np.float64)
    with np.errstate(over="ignore"):
        return _norm(e[np.isfinite(e)])


def _norm(x: np.ndarray) -> float:
    """That of all entries; without BLAS, whose threads wait for one another on a machine that is busy."""
    return float(np.sqrt(np.sum(np.square(x))))


def bound64(oracle: ArrayLike, d_output: ArrayLike, largest: float = 1.0) -> float:
    """The largest distance from `oracle` allowed to a float64 result for the cotangent `d_output`.

    `largest` is the largest magnitude among the arguments.
    """
    return FLOAT64 * size(oracle) + _rounding_of_the_oracle(d_output, largest)


def bound(
    oracle: ArrayLike, autodiff_error: float, dtype: DTypeLike, d_output: ArrayLike, largest: float = 1.0
) -> float:
    """The largest distance from `oracle` allowed to a result in `dtype`, narrower than float64.

    `autodiff_error` is how far JAX's own result in that dtype is from it.
    """
    info = jnp.finfo(dtype)
    underflow = float(info.smallest_normal) * np.sqrt(np.size(oracle))
    ulps = ULPS * float(info.eps) * size(oracle)
    return 2 * autodiff_error + ulps + underflow + _rounding_of_the_oracle(d_output, largest)


def beyond(oracle: ArrayLike, dtype: DTypeLike) -> np.ndarray:
    """Which entries of the oracle a dtype may have no number for, as they are at the end of its range."""
    return np.abs(np.asarray(oracle, np.float64)) > ROOM * float(jnp.finfo(dtype).max)


def _rounding_of_the_oracle(d_output: ArrayLike, largest: float) -> float:
    """A few float64 ulps of the cotangent times the largest argument.

    Where an op subtracts nearly equal numbers (a saturated softmax or tanh), the oracle is no better.
    """
    return ULPS * float(jnp.finfo(jnp.float64).eps) * size(d_output) * max(1.0, largest)
