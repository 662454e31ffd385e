"""Initialisers of weights by name, for kernels of any shape.

The spread of `glorot` and `he` comes from the fans: how many inputs an output sums over, and how many outputs
an input reaches. They are not the first two axes of a kernel: axes that are neither in, out nor batch are the
window of a convolution, and multiply both fans; batch axes, as that of stacked layers, multiply none.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Key

from manual_bp import checks

Axes = int | Sequence[int]

INITIALIZERS: dict[str, Callable[..., Any]] = {
    "glorot": partial(jax.nn.initializers.variance_scaling, 1.0, "fan_avg", "uniform"),
    "he": partial(jax.nn.initializers.variance_scaling, 2.0, "fan_in", "truncated_normal"),
    "near_zero": lambda **axes: jax.nn.initializers.normal(0.01),
}
"""Glorot & Bengio 2010; He et al. 2015, arXiv:1502.01852; normal with the standard deviation 0.01."""


def draw(
    op: str,
    name: str,
    key: Key[Array, ""],
    shape: Sequence[int],
    dtype: DTypeLike,
    *,
    in_axis: Axes = -2,
    out_axis: Axes = -1,
    batch_axis: Axes = (),
) -> Float[Array, "..."]:
    """Weights of `shape` by the initialiser `name`; `op` is who asks, for the error of an unknown one.

    For a kernel (*K, I, O) of a convolution the axes are as they are; for a projection (C, H, D) to heads
    `in_axis=0, out_axis=(1, 2)`; for layers stacked on their leading axis `batch_axis=0`.
    """
    checks.choice(op, "initializer", name, INITIALIZERS)
    checks.option(op, "dtype", dtype, jnp.issubdtype(dtype, jnp.floating), "a floating point dtype")
    make = INITIALIZERS[name](in_axis=in_axis, out_axis=out_axis, batch_axis=batch_axis)
    return make(key, tuple(shape), dtype)
