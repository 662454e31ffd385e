"""A whole network of two layers.

I inputs, H hidden neurons, V classes; the cost is the mean over B examples:

    a = tanh(x W1 + b1)                         x (B, I), W1 (I, H)        (1)
    p = softmax(a W2 + b2), by rows             a (B, H), W2 (H, V)        (2)
    C = -(1/B) sum_b log p_b,labels_b           p (B, V), labels (B,)      (3)

The biases b1 (H,) and b2 (V,) are added to each row; labels are integers.
Given dC, a number, write dx, dW1, db1, dW2 and db2, each of the shape of what
it belongs to.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from manual_bp.textbook.exercises.exercise import normal

SAVED = ("x", "W1", "a", "W2", "p", "labels")
RETURNS = ("dx", "dW1", "db1", "dW2", "db2")
HINT = """Go through (3), (2) and (1) in this order. The mean gives every example the share dC/B of
what comes back; then it is exercise 6, and after it exercises 3 and 2 for either layer. tanh' = 1 -
tanh^2."""

Residuals = tuple[
    Float[Array, "B I"],
    Float[Array, "I H"],
    Float[Array, "B H"],
    Float[Array, "H V"],
    Float[Array, "B V"],
    Integer[Array, " B"],
]


def example() -> tuple[Array, ...]:
    """An x, the parameters, and labels."""
    return *normal((4, 5), (5, 3), (3,), (3, 6), (6,)), jnp.array([3, 0, 5, 3])


def fwd(
    x: Float[Array, "B I"],
    W1: Float[Array, "I H"],
    b1: Float[Array, " H"],
    W2: Float[Array, "H V"],
    b2: Float[Array, " V"],
    labels: Integer[Array, " B"],
) -> tuple[Float[Array, ""], Residuals]:
    """The cost C."""
    a = jnp.tanh(x @ W1 + b1[None])  # (1)
    log_p = jax.nn.log_softmax(a @ W2 + b2[None], axis=-1)
    C = -jnp.mean(jnp.take_along_axis(log_p, labels[:, None], axis=-1))  # (3)
    return C, (x, W1, a, W2, jnp.exp(log_p), labels)  # (2)


def bwd(residuals: Residuals, dC: Float[Array, ""]) -> tuple[Array, Array, Array, Array, Array]:
    """The solution."""
    x, W1, a, W2, p, labels = residuals
    dz2 = dC / len(p) * (p - jax.nn.one_hot(labels, p.shape[-1], dtype=p.dtype))  # by (3) and (2)
    dW2, db2 = a.T @ dz2, jnp.sum(dz2, axis=0)
    da = dz2 @ W2.T
    dz1 = da * (1 - a**2)  # by (1)
    dW1, db1 = x.T @ dz1, jnp.sum(dz1, axis=0)
    dx = dz1 @ W1.T
    return dx, dW1, db1, dW2, db2
