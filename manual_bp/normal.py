r"""The normal distribution's tail T(a) = P(-a), for a >= 0, and its density p(a), both from one power of two.

    y = -a^2/(2 ln 2),   e = 2^y,   t = 1/(1 + 0.3 a/sqrt(2))
    T(a) = erfc(a/sqrt(2))/2 = t Q(t) e                             (1)
    p(a) = e/sqrt(2 pi)                                             (2)
    2^y = 2^n 2^f,   n = round(y),   f = y - n in [-1/2, 1/2]       (3)

Q is a polynomial of degree 8, fitted to T(a)/(t e) with the relative error 2e-8, a third of a unit in the
last place of float32: cheaper than erfc, which takes an exponential and two rational functions of its own,
and with all digits in the tail, where 1 + erf has none. 2^f is a polynomial of degree 6, fitted with 2e-9;
2^n is a number with the exponent n and no digits, and zero where that is below float32's range. (jnp.exp,
which minds overflow and infinities too, takes longer.) In float64 erfc itself is taken.
"""

from functools import reduce
from math import log, pi, sqrt

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Q = (
    -0.06476156938319057,
    0.2427822078870356,
    -0.2561403702283613,
    0.27386163725513395,
    -0.04732656943701885,
    0.10746358585898653,
    0.07416942980902419,
    0.08535763738972804,
    0.0845940010558483,
)
"""Coefficients of Q, that of t^8 first."""

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


def tail_and_density(a: Float[Array, "*B"]) -> tuple[Float[Array, "*B"], Float[Array, "*B"]]:
    """T(a) and p(a) of the standard normal for a >= 0, in float32 or float64."""
    if a.dtype == jnp.float64:
        return jax.lax.erfc(a * sqrt(0.5)) / 2, jnp.exp(-a * a / 2) / sqrt(2 * pi)
    e = _power_of_two(a * a * (-0.5 / log(2)))
    t = 1 / (1 + 0.3 * sqrt(0.5) * a)
    return t * _polynomial(Q, t) * e, e / sqrt(2 * pi)  # (1), (2)


def _power_of_two(y: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """2^y for y <= 0 in float32; (3)."""
    y = jnp.maximum(y, -BIAS)
    n = jnp.round(y)
    # the sum is so large that its last digits are the whole numbers: those of n + BIAS, which the shift
    # moves to the place of the exponent
    stored = jax.lax.bitcast_convert_type(n + (1.5 * 2**DIGITS + BIAS), jnp.int32) << DIGITS
    return _polynomial(POWER, y - n) * jax.lax.bitcast_convert_type(stored, jnp.float32)


def _polynomial(coefficients: tuple[float, ...], x: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """By Horner's rule, the leading coefficient first."""
    return reduce(lambda value, c: value * x + c, coefficients[1:], jnp.full_like(x, coefficients[0]))
