"""The one rule of precision: statistics and accumulations run in at least float32."""

import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float


def accumulator(*dtypes: DTypeLike) -> jnp.dtype:
    """The dtype to accumulate in: the widest of `dtypes`, and float32 at the least."""
    widest = jnp.dtype(jnp.float32)
    for dtype in dtypes:
        widest = jnp.promote_types(widest, dtype)
    return widest


def wide(x: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """`x` in at least float32."""
    return x.astype(accumulator(x.dtype))
