"""Rules of arithmetic: accumulate in at least float32; what has the factor zero does not count."""

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


def times(factor: Float[Array, "..."], x: Float[Array, "..."]) -> Float[Array, "..."]:
    """`factor * x`, and 0 where the factor is 0: what does not count may be infinite or NaN.

    The derivative by the factor is x there too, if that is finite: a factor may be zero only to begin with.
    """
    return factor * jnp.where((factor == 0) & ~jnp.isfinite(x), 0, x)
