"""Cross-entropy of the softmax of an affine map."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from jax_ref.ops import dense, softmax_cross_entropy


def apply(
    params: Any,
    x: Float[Array, "*B I"],
    targets: Integer[Array, "*B"],
    weights: Float[Array, "*B"] | None = None,
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    ignore_label: int | None = None,
    soft_cap: float | None = None,
    chunk: int = 256,
) -> Float[Array, "*B"]:
    """The loss of each token; `chunk` is how another program takes them apart, and changes nothing here."""
    logits = dense.apply(params, x)
    if soft_cap is not None:
        logits = soft_cap * jnp.tanh(logits / soft_cap)
    return softmax_cross_entropy.apply(
        logits, targets, weights, label_smoothing=label_smoothing, z_loss=z_loss, ignore_label=ignore_label
    )
