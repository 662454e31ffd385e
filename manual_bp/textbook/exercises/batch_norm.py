"""Batch normalisation.

Each feature is centred and scaled over the B examples, then given a gain and a
bias:

    m_f  = (1/B) sum_b x_bf                     x (B, F)                   (1)
    v_f  = (1/B) sum_b (x_bf - m_f)^2                                      (2)
    r_f  = (v_f + e)^(-1/2),   e = 1e-5                                    (3)
    n_bf = (x_bf - m_f) r_f                     n (B, F)                   (4)
    y_bf = g_f n_bf + c_f                       y (B, F), g, c (F,)        (5)

Given dy (B, F), write dx (B, F), dg (F,) and dc (F,). Kept are n, r (F,) and g.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manual_bp.textbook.exercises.exercise import normal

SAVED = ("n", "r", "g")
RETURNS = ("dx", "dg", "dc")
HINT = """It is exercise 10 with another axis: each example has a share in the m and the v of all others, so
what comes back by them is summed over the examples. As g_f is the same for a whole column, dg and dc,
which are sums that (5) asks for anyway, are all that is needed of dy beside dy itself."""

Residuals = tuple[Float[Array, "B F"], Float[Array, " F"], Float[Array, " F"]]
EPS = 1e-5


def example() -> tuple[Array, ...]:
    """An x, a g and a c."""
    return normal((4, 5), (5,), (5,))


def fwd(
    x: Float[Array, "B F"], g: Float[Array, " F"], c: Float[Array, " F"]
) -> tuple[Float[Array, "B F"], Residuals]:
    """The normalised columns with gain and bias."""
    centred = x - jnp.mean(x, axis=0, keepdims=True)  # (1)
    r = jax.lax.rsqrt(jnp.mean(centred**2, axis=0) + EPS)  # (2), (3)
    n = centred * r[None]  # (4)
    return g[None] * n + c[None], (n, r, g)  # (5)


def bwd(
    residuals: Residuals, dy: Float[Array, "B F"]
) -> tuple[Float[Array, "B F"], Float[Array, " F"], Float[Array, " F"]]:
    """The solution."""
    n, r, g = residuals
    dg, dc = jnp.sum(dy * n, axis=0), jnp.sum(dy, axis=0)  # by (5)
    by_m, by_v = dc[None] / len(n), n * dg[None] / len(n)
    return (g * r)[None] * (dy - by_m - by_v), dg, dc  # x is in (4), (1) and (2)
