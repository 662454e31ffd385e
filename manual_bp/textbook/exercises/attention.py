"""Attention.

T queries look at S keys and take a mean of their values (one head, no mask):

    s = q k^T / sqrt(D)                         q (T, D), k (S, D)         (1)
    p = softmax(s), by rows                     s, p (T, S)                (2)
    o = p v                                     v (S, E), o (T, E)         (3)

Given do (T, E), write dq (T, D), dk (S, D) and dv (S, E).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manual_bp.textbook.exercises.exercise import normal

SAVED = ("q", "k", "v", "p")
RETURNS = ("dq", "dk", "dv")
HINT = """Three steps, all of them known: (3) is exercise 3 with p for x and v for W; (2) is
exercise 5; (1) is exercise 3 again, with a transpose and a constant."""

Residuals = tuple[Float[Array, "T D"], Float[Array, "S D"], Float[Array, "S E"], Float[Array, "T S"]]


def example() -> tuple[Array, ...]:
    """A q, a k and a v."""
    return normal((3, 4), (5, 4), (5, 2))


def fwd(
    q: Float[Array, "T D"], k: Float[Array, "S D"], v: Float[Array, "S E"]
) -> tuple[Float[Array, "T E"], Residuals]:
    """The means of the values."""
    p = jax.nn.softmax(q @ k.T / q.shape[-1] ** 0.5, axis=-1)  # (1), (2)
    return p @ v, (q, k, v, p)  # (3)


def bwd(
    residuals: Residuals, do: Float[Array, "T E"]
) -> tuple[Float[Array, "T D"], Float[Array, "S D"], Float[Array, "S E"]]:
    """The solution."""
    q, k, v, p = residuals
    dp, dv = do @ v.T, p.T @ do  # by (3)
    back = p * dp
    ds = back - p * jnp.sum(back, axis=-1, keepdims=True)  # by (2)
    ds = ds / q.shape[-1] ** 0.5  # by (1)
    return ds @ k, ds.T @ q, dv
