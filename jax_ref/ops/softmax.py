"""Softmax over one axis."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def apply(
    x: Float[Array, "*B"], mask: Bool[Array, "..."] | None = None, *, axis: int = -1
) -> Float[Array, "*B"]:
    """Probabilities along `axis`; entries that `mask` does not allow, and rows of them, are zero."""
    if mask is None:
        return jax.nn.softmax(x, axis)
    mask = jnp.broadcast_to(mask, x.shape)
    some = jnp.any(mask, axis, keepdims=True)
    p = jax.nn.softmax(x, axis, where=mask | ~some)  # a row without any is computed whole, then zeroed
    return jnp.where(some, p, 0)
