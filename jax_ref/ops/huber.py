"""Huber's loss, one value per example."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def apply(y: Float[Array, "*B I"], t: Float[Array, "*B I"], *, delta: float = 1.0) -> Float[Array, "*B"]:
    """Squared error within `delta` of the target, linear beyond, summed over the last axis."""
    error = y - t
    inside = 0.5 * jnp.square(error)
    outside = delta * (jnp.abs(error) - 0.5 * delta)
    return jnp.sum(jnp.where(jnp.abs(error) <= delta, inside, outside), axis=-1)
