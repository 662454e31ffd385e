r"""The normal distribution's tail T(a) = P(-a), for a >= 0, and its density p(a), both from one power of two.

    y = -a^2/(2 ln 2),   e = 2^y,   t = 1/(1 + 0.3 a/sqrt(2))
    T(a) = erfc(a/sqrt(2))/2 = t Q(t) e                             (1)
    p(a) = e/sqrt(2 pi)                                             (2)

Q is a polynomial of degree 8, fitted to T(a)/(t e) with the relative error 2e-8, a third of a unit in the
last place of float32: cheaper than erfc, which takes an exponential and two rational functions of its own,
and with all digits in the tail, where 1 + erf has none. In float64 erfc itself is taken.
"""

from math import log, pi, sqrt

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manual_bp.exponential import polynomial, power_of_two

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


def tail_and_density(a: Float[Array, "*B"]) -> tuple[Float[Array, "*B"], Float[Array, "*B"]]:
    """T(a) and p(a) of the standard normal for a >= 0, in float32 or float64."""
    if a.dtype == jnp.float64:
        return jax.lax.erfc(a * sqrt(0.5)) / 2, jnp.exp(-a * a / 2) / sqrt(2 * pi)
    e = power_of_two(a * a * (-0.5 / log(2)))
    t = 1 / (1 + 0.3 * sqrt(0.5) * a)
    return t * polynomial(Q, t) * e, e / sqrt(2 * pi)  # (1), (2)
