"""A skip connection.

A layer adds what it computes to its own input:

    h = tanh(x W)                               x (B, F), W (F, F)         (1)
    y = x + h                                   h, y (B, F)                (2)

Given dy (B, F), write dx (B, F) and dW (F, F).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from manual_bp.textbook.exercises.exercise import normal

SAVED = ("x", "W", "h")
RETURNS = ("dx", "dW")
HINT = """x feeds two ways to y: the skip, by (2), and the layer, by (1). What comes back by the two
adds. W is square here, so that no shape tells you whether to transpose it: write the sum with
indices."""

Residuals = tuple[Float[Array, "B F"], Float[Array, "F F"], Float[Array, "B F"]]


def example() -> tuple[Array, ...]:
    """An x and a W."""
    return normal((4, 3), (3, 3))


def fwd(x: Float[Array, "B F"], W: Float[Array, "F F"]) -> tuple[Float[Array, "B F"], Residuals]:
    """The layer with its skip."""
    h = jnp.tanh(x @ W)  # (1)
    return x + h, (x, W, h)  # (2)


def bwd(residuals: Residuals, dy: Float[Array, "B F"]) -> tuple[Float[Array, "B F"], Float[Array, "F F"]]:
    """The solution."""
    x, W, h = residuals
    dz = dy * (1 - h**2)  # by (1); (2) hands dy to h as it is
    dx = dy + dz @ W.T  # x is in (2) and in (1): the two add
    return dx, x.T @ dz
