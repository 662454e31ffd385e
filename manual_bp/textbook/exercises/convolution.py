"""A convolution.

A window of K steps slides along T steps of I features, without padding:

    y_bto = sum_k sum_i x_(b, t+k, i) W_kio + c_o                          (1)

with k = 0..K-1 and t = 0..T-K. Shapes are x (B, T, I), W (K, I, O), c (O,) and
y (B, T-K+1, O). Given dy (B, T-K+1, O), write dx (B, T, I), dW (K, I, O) and
dc (O,).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from manual_bp.textbook.exercises.exercise import normal

SAVED = ("x", "W")
RETURNS = ("dx", "dW", "dc")
HINT = """Take one k alone: it is exercise 3 with W_k, from the steps k, k + 1, ... of x. A step of x is
in up to K outputs, once by each k: what comes back to it adds. W_k is used at every t: its gradient is
a sum over t as well as over b."""

Residuals = tuple[Float[Array, "B T I"], Float[Array, "K I O"]]


def example() -> tuple[Array, ...]:
    """An x, a W and a c."""
    return normal((4, 5, 2), (3, 2, 3), (3,))


def fwd(
    x: Float[Array, "B T I"], W: Float[Array, "K I O"], c: Float[Array, " O"]
) -> tuple[Float[Array, "B S O"], Residuals]:
    """The outputs of the window at each place."""
    steps = x.shape[1] - len(W) + 1
    y = sum((x[:, k : k + steps] @ W[k] for k in range(1, len(W))), x[:, :steps] @ W[0])  # (1)
    return y + c[None, None], (x, W)


def bwd(
    residuals: Residuals, dy: Float[Array, "B S O"]
) -> tuple[Float[Array, "B T I"], Float[Array, "K I O"], Float[Array, " O"]]:
    """The solution."""
    x, W = residuals
    steps = dy.shape[1]
    dx, dW = jnp.zeros_like(x), []
    for k in range(len(W)):
        seen = slice(k, k + steps)
        dx = dx.at[:, seen].add(dy @ W[k].T)  # a step is in up to K outputs: they add
        dW.append(jnp.einsum("bti,bto->io", x[:, seen], dy))
    return dx, jnp.stack(dW), jnp.sum(dy, axis=(0, 1))
