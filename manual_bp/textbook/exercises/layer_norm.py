"""Layer normalisation.

Each row of F features is centred and scaled, then given a gain and a bias:

    m_b  = (1/F) sum_f x_bf                     x (B, F)                   (1)
    r_b  = ((1/F) sum_f (x_bf - m_b)^2 + e)^(-1/2),   e = 1e-5             (2)
    n_bf = (x_bf - m_b) r_b                     n (B, F)                   (3)
    y_bf = g_f n_bf + c_f                       y (B, F), g, c (F,)        (4)

Given dy (B, F), write dx (B, F), dg (F,) and dc (F,). Kept are n, r as a
column (B, 1), and g.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manual_bp.textbook.exercises.exercise import normal

SAVED = ("n", "r", "g")
RETURNS = ("dx", "dg", "dc")
HINT = """From (4) come dn, dg and dc. Then x reaches n by three ways: itself, by m and by r; each
of the latter two depends on all features of its row. What comes back by r is a multiple of n, what
comes back by m the same number for all features of a row: dx = r (dn - ... - n ...), with two
means."""

Residuals = tuple[Float[Array, "B F"], Float[Array, "B 1"], Float[Array, " F"]]
EPS = 1e-5


def example() -> tuple[Array, ...]:
    """An x, a g and a c."""
    return normal((4, 5), (5,), (5,))


def fwd(
    x: Float[Array, "B F"], g: Float[Array, " F"], c: Float[Array, " F"]
) -> tuple[Float[Array, "B F"], Residuals]:
    """The normalised rows with gain and bias."""
    centred = x - jnp.mean(x, axis=-1, keepdims=True)  # (1)
    r = jax.lax.rsqrt(jnp.mean(centred**2, axis=-1, keepdims=True) + EPS)  # (2)
    n = centred * r  # (3)
    return g[None] * n + c[None], (n, r, g)  # (4)


def bwd(
    residuals: Residuals, dy: Float[Array, "B F"]
) -> tuple[Float[Array, "B F"], Float[Array, " F"], Float[Array, " F"]]:
    """The solution."""
    n, r, g = residuals
    dn, dg, dc = dy * g[None], jnp.sum(dy * n, axis=0), jnp.sum(dy, axis=0)  # by (4)
    by_m = jnp.mean(dn, axis=-1, keepdims=True)
    by_r = n * jnp.mean(dn * n, axis=-1, keepdims=True)
    return r * (dn - by_m - by_r), dg, dc  # x is in (3), (1) and (2)
