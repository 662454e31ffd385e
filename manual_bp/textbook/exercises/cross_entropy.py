"""Cross-entropy of a softmax.

Each row of z holds the logits of V classes; `labels` (B,) says which one is
right:

    p_bv   = e^(z_bv) / sum_w e^(z_bw)          z, p (B, V)                (1)
    loss_b = -log p_b,labels_b                  loss (B,)                  (2)

Given dloss (B,), another number for each example perhaps, write dz (B, V).
Labels are integers and need no gradient.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from manual_bp.textbook.exercises.exercise import normal

SAVED = ("p", "labels")
RETURNS = ("dz",)
HINT = """-log p_label = log(sum_w e^(z_w)) - z_label. The derivative of the first term is p, that
of the second one a row with a single entry; then every row is multiplied by its own dloss_b."""

Residuals = tuple[Float[Array, "B V"], Integer[Array, " B"]]


def example() -> tuple[Array, ...]:
    """A z and labels."""
    return *normal((4, 5)), jnp.array([3, 0, 1, 3])


def fwd(z: Float[Array, "B V"], labels: Integer[Array, " B"]) -> tuple[Float[Array, " B"], Residuals]:
    """The loss of each example."""
    log_p = jax.nn.log_softmax(z, axis=-1)
    loss = -jnp.take_along_axis(log_p, labels[:, None], axis=-1)[:, 0]  # (2)
    return loss, (jnp.exp(log_p), labels)  # (1)


def bwd(residuals: Residuals, dloss: Float[Array, " B"]) -> Float[Array, "B V"]:
    """The solution."""
    p, labels = residuals
    y = jax.nn.one_hot(labels, p.shape[-1], dtype=p.dtype)
    return dloss[:, None] * (p - y)
