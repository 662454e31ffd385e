"""Half the squared distance, one value per example."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def apply(y: Float[Array, "*B I"], t: Float[Array, "*B I"]) -> Float[Array, "*B"]:
    """`0.5 * ||y - t||^2` over the last axis."""
    return 0.5 * jnp.sum(jnp.square(y - t), axis=-1)
