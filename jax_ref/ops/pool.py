"""Pooling by `lax.reduce_window`."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

PerAxis = int | Sequence[int]
Padding = str | Sequence[tuple[int, int]]


def max(  # noqa: A001
    x: Float[Array, "*BS"], *, window: PerAxis, strides: PerAxis | None = None, padding: Padding = "VALID"
) -> Float[Array, "*BP"]:
    """The largest entry of each window."""
    over, by, ends = _spans(x, window, strides, padding)
    return jax.lax.reduce_window(x, np.array(-np.inf, x.dtype), jax.lax.max, over, by, ends)


def average(
    x: Float[Array, "*BS"],
    *,
    window: PerAxis,
    strides: PerAxis | None = None,
    padding: Padding = "VALID",
    count_include_pad: bool = True,
) -> Float[Array, "*BP"]:
    """The mean of each window, with or without its padding."""
    over, by, ends = _spans(x, window, strides, padding)
    zero = np.zeros((), x.dtype)
    total = jax.lax.reduce_window(x, zero, jax.lax.add, over, by, ends)
    ones = jnp.ones_like(x[..., :1])
    if count_include_pad:
        ones, ends = jnp.pad(ones, ends, constant_values=1), [(0, 0)] * x.ndim
    return total / jax.lax.reduce_window(ones, zero, jax.lax.add, over, by, ends)


def _spans(
    x: Array, window: PerAxis, strides: PerAxis | None, padding: Padding
) -> tuple[tuple[int, ...], tuple[int, ...], list[tuple[int, int]]]:
    """Window, strides and padding for every axis of `x`."""
    told = [len(v) for v in (window, strides, padding) if isinstance(v, tuple | list)]
    count = told[0] if told else x.ndim - 2
    over = (window,) * count if isinstance(window, int) else tuple(window)
    by = over if strides is None else (strides,) * count if isinstance(strides, int) else tuple(strides)
    sizes = x.shape[-count - 1 : -1]
    ends = jax.lax.padtype_to_pads(sizes, over, by, padding) if isinstance(padding, str) else padding
    before = x.ndim - count - 1
    return (
        (1,) * before + over + (1,),
        (1,) * before + by + (1,),
        [(0, 0)] * before + [(lo, hi) for lo, hi in ends] + [(0, 0)],
    )
