"""Whether all entries of an array are one number."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

BITS = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint64}
"""Integers by their bytes."""


def one_number(x: Float[Array, "..."]) -> tuple[Bool[Array, ""], Float[Array, ""]]:
    """Whether all of `x` is one number, and that number; it has no derivative. Of no entries it is 0.

    Bits are compared: where `x` is made by a broadcast, as the cotangents of a mean are, XLA sees that they
    are equal, as it does not of numbers, which may be NaN. Then a condition on it costs nothing.
    """
    bits = lax.bitcast_convert_type(x, BITS[x.dtype.itemsize])
    largest = jnp.max(bits, initial=0)
    return jnp.all(bits == largest), lax.bitcast_convert_type(largest, x.dtype)
