"""Cross-entropy of a softmax, from logits; one value per example."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped


def apply(
    logits: Float[Array, "*B V"],
    targets: Shaped[Array, "..."],
    weights: Float[Array, "*B"] | None = None,
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    ignore_label: int | None = None,
) -> Float[Array, "*B"]:
    """The loss for integer labels (*B) or distributions (*B, V), as in `manual_bp`."""
    classes = logits.shape[-1]
    labelled = jnp.issubdtype(targets.dtype, jnp.integer)
    distribution = jax.nn.one_hot(targets, classes) if labelled else targets
    smooth = (1 - label_smoothing) * distribution.astype(logits.dtype) + label_smoothing / classes
    log_p = jax.nn.log_softmax(logits)
    log_p = jnp.where((smooth == 0) & jnp.isneginf(log_p), 0, log_p)  # 0 * inf is 0 here
    loss = -jnp.sum(smooth * log_p, axis=-1)
    loss = loss + z_loss * jnp.square(jax.nn.logsumexp(logits, axis=-1))
    if labelled:
        loss = jnp.where((targets >= 0) & (targets < classes), loss, jnp.nan)
    if ignore_label is not None:
        loss = jnp.where(targets == ignore_label, 0, loss)
    return loss if weights is None else loss * weights.astype(logits.dtype)
