r"""The exponential of a negative number in float32, without what `jnp.exp` does for others.

    e^-a = 2^y,   y = -a/ln 2                                       (1)
    2^y  = 2^n 2^f,   n = round(y),   f = y - n in [-1/2, 1/2]      (2)

2^f is a polynomial of degree 6, fitted with the relative error 2e-9; 2^n is a number with the exponent n and
no digits, and zero where that is below float32's range. (jnp.exp, which minds overflow and infinities too,
takes longer.)
"""

from functools import reduce
from math import log

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

POWER = (
    0.00015370704816787626,
    0.0013399848290702523,
    0.009618373251351092,
    0.055503290351536116,
    0.24022648462281226,
    0.6931472055771001,
    1.0,
)
"""Coefficients of 2^f, that of f^6 first."""

BIAS, DIGITS = 127, 23
"""Of float32: what is added to an exponent to store it, and the bits below it."""


def decay(a: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """e^-a for a >= 0, in float32 or float64; (1)."""
    return jnp.exp(-a) if a.dtype == jnp.float64 else power_of_two(a * (-1 / log(2)))


def power_of_two(y: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """2^y for y <= 0 in float32; (2)."""
    y = jnp.maximum(y, -BIAS)
    n = jnp.round(y)
    # the sum is so large that its last digits are the whole numbers: those of n + BIAS, which the shift
    # moves to the place of the exponent
    stored = jax.lax.bitcast_convert_type(n + (1.5 * 2**DIGITS + BIAS), jnp.int32) << DIGITS
    return polynomial(POWER, y - n) * jax.lax.bitcast_convert_type(stored, jnp.float32)


def polynomial(coefficients: tuple[float, ...], x: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """By Horner's rule, the leading coefficient first."""
    return reduce(lambda value, c: value * x + c, coefficients[1:], jnp.full_like(x, coefficients[0]))
