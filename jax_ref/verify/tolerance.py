"""How far from the oracle a gradient may be: leaf by leaf, each by its own norm.

In float64 the bound is a multiple of rounding. In a narrower dtype it is what autodiff in that dtype
itself misses the oracle by: no fixed tolerance, so that neither is a rounding error an alarm nor a
mistake lost under one.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

FLOAT64 = 1e-12
"""Normwise relative error allowed in float64."""

ULPS = 4
"""Units in the last place allowed on top of autodiff's own error in a narrower dtype."""


def distance(actual: Array, oracle: Array) -> float:
    """Euclidean distance in float64; equal infinities and NaNs at the same place count as equal."""
    a, e = np.asarray(actual, np.float64), np.asarray(oracle, np.float64)
    same = (a == e) | (np.isnan(a) & np.isnan(e))
    return float(np.linalg.norm(np.subtract(a, e, where=~same, out=np.zeros(a.shape)).ravel()))


def size(oracle: Array) -> float:
    """Euclidean norm in float64 of the finite entries."""
    e = np.asarray(oracle, np.float64)
    return float(np.linalg.norm(e[np.isfinite(e)]))


def bound(oracle: Array, autodiff: Array) -> float:
    """The largest distance from `oracle` allowed to a gradient in the dtype of `autodiff`.

    `autodiff` is JAX's own gradient in that dtype: of float64, the oracle itself.
    """
    dtype = autodiff.dtype
    if dtype == np.float64:
        return FLOAT64 * size(oracle)
    off = distance(autodiff, oracle)
    info = jnp.finfo(dtype)
    underflow = float(info.smallest_normal) * np.sqrt(np.size(oracle))
    return 2 * off + ULPS * float(info.eps) * size(oracle) + underflow

