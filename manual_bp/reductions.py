"""Reductions in the form that XLA takes in one pass over its operands."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float


def weighted_mean(p: Float[Array, "*B I"], w: Float[Array, "I"]) -> Float[Array, "*B 1"]:
    """`mean(p * w)` over the last axis, which it keeps: as a product, so that `p * w` is no array."""
    total = jnp.matmul(p, w.astype(p.dtype), precision=lax.Precision.HIGHEST)
    return (total / p.shape[-1])[..., None]
