"""Entries set to zero at random."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jax_ref.precision import at_least_float32


def apply(x: Float[Array, "*B"], key: Key[Array, ""], *, rate: float) -> Float[Array, "*B"]:
    """`x / (1 - rate)` where the key says so, 0 elsewhere."""
    if rate == 1:
        return jnp.zeros_like(x)
    kept = jax.random.bernoulli(key, 1 - float(rate), x.shape)
    x_ = at_least_float32(x)
    return jnp.where(kept, x_ / (1 - rate), 0).astype(x.dtype)
