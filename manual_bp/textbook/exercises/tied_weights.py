"""Tied weights.

An autoencoder that uses one matrix twice, the second time transposed:

    h = tanh(x W)                               x (B, I), W (I, H)         (1)
    y = h W^T                                   h (B, H), y (B, I)         (2)

Given dy (B, I), write dx (B, I) and dW (I, H).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from manual_bp.textbook.exercises.exercise import normal

SAVED = ("x", "W", "h")
RETURNS = ("dx", "dW")
HINT = """Call the W of (1) W1 and that of (2) W2, and find the gradient by each as if they were two
matrices. W is both: what comes back by the two adds."""

Residuals = tuple[Float[Array, "B I"], Float[Array, "I H"], Float[Array, "B H"]]


def example() -> tuple[Array, ...]:
    """An x and a W."""
    return normal((4, 5), (5, 3))


def fwd(x: Float[Array, "B I"], W: Float[Array, "I H"]) -> tuple[Float[Array, "B I"], Residuals]:
    """What the autoencoder makes of x."""
    h = jnp.tanh(x @ W)  # (1)
    return h @ W.T, (x, W, h)  # (2)


def bwd(residuals: Residuals, dy: Float[Array, "B I"]) -> tuple[Float[Array, "B I"], Float[Array, "I H"]]:
    """The solution."""
    x, W, h = residuals
    dh = dy @ W  # by (2)
    dz = dh * (1 - h**2)  # by (1)
    dW = dy.T @ h + x.T @ dz  # W is in (2) and in (1): the two add
    return dz @ W.T, dW
