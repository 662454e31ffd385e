"""The dtype in which statistics are taken."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def at_least_float32(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """`x`, in float32 if it is of a narrower dtype."""
    return x if x.dtype == jnp.float64 else x.astype(jnp.float32)
