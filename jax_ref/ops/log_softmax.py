"""Logarithm of the softmax over one axis."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def apply(
    x: Float[Array, "*B"], mask: Bool[Array, "..."] | None = None, *, axis: int = -1
) -> Float[Array, "*B"]:
    """Log-probabilities along `axis`; -inf where `mask` does not allow, 0 in a row without any."""
    if mask is None:
        return jax.nn.log_softmax(x, axis)
    mask = jnp.broadcast_to(mask, x.shape)
    some = jnp.any(mask, axis, keepdims=True)
    y = jax.nn.log_softmax(x, axis, where=mask | ~some)
    return jnp.where(some, y, 0)
