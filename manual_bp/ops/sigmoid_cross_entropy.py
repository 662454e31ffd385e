r"""Cross-entropy of independent yes/no targets, from logits; one value per example.

Axes: B leading, I labels. s(x) = 1/(1 + e^-x), and softplus(x) = log(1 + e^x) = -log s(-x). The
optional w_i weighs the positive class of label i, and is 1 where it is not given.

    l_b   = sum_i w_i t_bi softplus(-x_bi) + (1 - t_bi) softplus(x_bi)         (1)
          = sum_i (w_i t_bi + 1 - t_bi) k_bi + |x_bi| (w_i t_bi if x_bi < 0 else 1 - t_bi)

    dx_bi = dl_b ((1 - t_bi) s(x_bi) - w_i t_bi s(-x_bi))                      (2)
    dt_bi = dl_b (w_i softplus(-x_bi) - softplus(x_bi))                        (3)
          = dl_b ((w_i - 1) k_bi - x_bi (w_i if x_bi < 0 else 1))
    dw_i  = sum_b dl_b t_bi softplus(-x_bi)                                    (4)

k_bi = softplus(-|x_bi|) = log(1 + e^-|x_bi|) is finite, and softplus(x) = max(x, 0) + k: so the second line
of (3) has no cancellation, and that of (1) nothing infinite but |x|. What has the factor zero does not count:
the loss is 0 at x = -inf for t = 0, and an example whose loss is not used (dl_b = 0) has a zero gradient,
whatever it holds. Without weights (2) is dl (s(x) - t). Saved: the three inputs.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from manual_bp import checks
from manual_bp.precision import accumulator, times
from manual_bp.sharding import alike

Targets = Float[Array, "*B I"] | Integer[Array, "*B I"] | Bool[Array, "*B I"]


class Residuals(NamedTuple):
    """The inputs."""

    logits: Float[Array, "*B I"]
    targets: Targets
    pos_weight: Float[Array, "I"] | None


def fwd(
    logits: Float[Array, "*B I"],
    targets: Targets,
    pos_weight: Float[Array, "I"] | None = None,
) -> tuple[Float[Array, "*B"], Residuals]:
    """The loss of each example; targets are 0 or 1, or anything between if floating point."""
    op = "sigmoid_cross_entropy"
    checks.floating(op, logits=logits)
    checks.features(op, logits=logits)
    checks.array(op, "yes/no targets", targets=targets)
    checks.shape(op, "targets", targets, logits.shape, ", the shape of the logits")
    if pos_weight is not None:
        checks.floating(op, pos_weight=pos_weight)
        checks.shape(op, "pos_weight", pos_weight, logits.shape[-1:], ", one weight per label")
    res = Residuals(logits, targets, pos_weight)
    x, t, w = _wide(res)
    yes, no = w * t, 1 - t
    k = jnp.log1p(jnp.exp(-jnp.abs(x)))
    both = k if pos_weight is None else (yes + no) * k
    loss = jnp.sum(both + times(jnp.where(x < 0, yes, no), jnp.abs(x)), -1)  # (1)
    return loss.astype(logits.dtype), res


def bwd(res: Residuals, dloss: Float[Array, "*B"]) -> Array | tuple[Array, ...]:
    """The cotangents of the logits, of floating point targets and of the weights where given."""
    logits, targets, pos_weight = res
    checks.per_example("sigmoid_cross_entropy", "dloss", dloss, logits)
    x, t, w = _wide(res)
    dl = dloss[..., None].astype(x.dtype)
    e = jnp.exp(-jnp.abs(x))
    s, s_other = 1 / (1 + e), e / (1 + e)  # of |x| and of -|x|
    s, s_other = jnp.where(x < 0, s_other, s), jnp.where(x < 0, s, s_other)
    dlogits = times(times(dl, 1 - t), s) - times(times(times(dl, w), t), s_other)  # (2)
    cotangents = [dlogits.astype(logits.dtype)]
    if jnp.issubdtype(targets.dtype, jnp.floating):
        slope = -x if pos_weight is None else (w - 1) * jnp.log1p(e) - times(jnp.where(x < 0, w, 1), x)
        cotangents.append(times(dl, slope).astype(targets.dtype))  # (3)
    if pos_weight is not None:
        leading = tuple(range(x.ndim - 1))
        softplus = jnp.maximum(-x, 0) + jnp.log1p(e)
        dw = jnp.sum(times(dl, times(t, softplus)), leading)  # (4)
        cotangents.append(dw.astype(pos_weight.dtype))
    return tuple(cotangents) if len(cotangents) > 1 else cotangents[0]


def _wide(res: Residuals) -> tuple[Array, Array, Array]:
    """Logits, targets and weights in the accumulator's dtype, and of one shape and layout."""
    logits, targets, pos_weight = res
    dtype = accumulator(*(a.dtype for a in res if a is not None))
    w = jnp.ones((), dtype) if pos_weight is None else pos_weight.astype(dtype)
    x, t, w = alike(logits.astype(dtype), targets.astype(dtype), jnp.broadcast_to(w, logits.shape))
    return x, t, w
