"""Batch normalisation by the batch's own statistics."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax_ref.ops.group_norm import Params
from jax_ref.precision import at_least_float32


class Statistics(NamedTuple):
    """Mean and biased variance of each channel."""

    mean: Float[Array, "C"]
    var: Float[Array, "C"]


def apply(
    params: Params, x: Float[Array, "*B C"], *, eps: float = 1e-5
) -> tuple[Float[Array, "*B C"], Statistics]:
    """`(x - mean) / sqrt(var + eps) * g + b` with the statistics of all axes but the last, and these."""
    x_ = at_least_float32(x)
    over = tuple(range(x.ndim - 1))
    mean, var = jnp.mean(x_, over, keepdims=True), jnp.var(x_, over, keepdims=True)
    xhat = ((x_ - mean) * jax.lax.rsqrt(var + eps)).astype(x.dtype)
    y = xhat * jnp.expand_dims(params.g.astype(x.dtype), over)
    if params.b is not None:
        y = y + jnp.expand_dims(params.b.astype(x.dtype), over)
    return y, Statistics(jnp.squeeze(mean, over), jnp.squeeze(var, over))
