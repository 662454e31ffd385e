"""The one rule of precision: statistics and accumulations run in at least float32."""

import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float


def accumulator(*dtypes: DTypeLike) -> jnp.dtype:
    """The dtype to accumulate in: the widest floating point one of `dtypes`, at least float32."""
    widest = jnp.dtype(jnp.float32)
    for dtype in dtypes:
        if jnp.issubdtype(dtype, jnp.floating) and jnp.dtype(dtype).itemsize > widest.itemsize:
            widest = jnp.dtype(dtype)
    return widest


def wide(x: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """`x` in at least float32."""
    return x.astype(accumulator(x.dtype))
