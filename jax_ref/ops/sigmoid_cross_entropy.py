"""Cross-entropy of independent yes/no targets, from logits; one value per example."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped


def apply(
    logits: Float[Array, "*B I"],
    targets: Shaped[Array, "*B I"],
    pos_weight: Float[Array, "I"] | None = None,
) -> Float[Array, "*B"]:
    """The negative log-likelihood of the targets, the positive class weighted by `pos_weight`."""
    t = targets.astype(logits.dtype)
    positive = t * -jax.nn.log_sigmoid(logits)
    if pos_weight is not None:
        weight = pos_weight.astype(logits.dtype)
        positive = positive * jnp.broadcast_to(weight, logits.shape)
    negative = (1 - t) * -jax.nn.log_sigmoid(-logits)
    return jnp.sum(positive + negative, axis=-1)
