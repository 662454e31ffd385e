r"""Cross-entropy of independent yes/no targets, from logits; one value per example.

Axes: B leading, I labels. s(x) = 1/(1 + e^-x), and softplus(x) = log(1 + e^x) = -log s(-x). The
optional w_i weighs the positive class of label i, and is 1 where it is not given.

    l_b   = sum_i w_i t_bi softplus(-x_bi) + (1 - t_bi) softplus(x_bi)         (1)

    dx_bi = dl_b ((1 - t_bi) s(x_bi) - w_i t_bi s(-x_bi))                      (2)
    dt_bi = dl_b (w_i softplus(-x_bi) - softplus(x_bi))                        (3)
          = dl_b ((w_i - 1) softplus(-|x_bi|) - x_bi (1 if x_bi >= 0 else w_i))
    dw_i  = sum_b dl_b t_bi softplus(-x_bi)                                    (4)

The second line of (3) is without the cancellation, as softplus(x) = x + softplus(-x). Without weights (2) is
dl (s(x) - t). A factor of zero, as 1 - t, leaves out what it multiplies, also where that is infinite: the
loss is 0 at x = -inf for t = 0. So does a zero dl: an example whose loss is not used has a zero gradient.
Saved: the three inputs.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from manual_bp import checks
from manual_bp.ops import activations
from manual_bp.precision import accumulator, times

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
    positive, negative = w * t, 1 - t
    loss = jnp.sum(times(positive, _softplus(-x)) + times(negative, _softplus(x)), -1)  # (1)
    return loss.astype(logits.dtype), res


def bwd(res: Residuals, dloss: Float[Array, "*B"]) -> Array | tuple[Array, ...]:
    """The cotangents of the logits, of floating point targets and of the weights where given."""
    logits, targets, pos_weight = res
    checks.per_example("sigmoid_cross_entropy", "dloss", dloss, logits)
    x, t, w = _wide(res)
    dl = dloss[..., None].astype(x.dtype)
    no, yes = times(dl, 1 - t), times(dl, w * t)
    dlogits = times(no, jax.nn.sigmoid(x)) - times(yes, jax.nn.sigmoid(-x))  # (2)
    cotangents = [dlogits.astype(logits.dtype)]
    if jnp.issubdtype(targets.dtype, jnp.floating):
        dtargets = times(dl, (w - 1) * _softplus(-jnp.abs(x)) - times(jnp.where(x < 0, w, 1), x))  # (3)
        cotangents.append(dtargets.astype(targets.dtype))
    if pos_weight is not None:
        leading = tuple(range(x.ndim - 1))
        dw = jnp.sum(times(times(dl, t), _softplus(-x)), leading)  # (4)
        cotangents.append(dw.astype(pos_weight.dtype))
    return tuple(cotangents) if len(cotangents) > 1 else cotangents[0]


def _softplus(x: Array) -> Array:
    return activations.softplus.fwd(x)[0]


def _wide(res: Residuals) -> tuple[Array, Array, Array]:
    """Logits, targets and weights in the dtype of the accumulation and the shape of the logits."""
    logits, targets, pos_weight = res
    dtype = accumulator(*(a.dtype for a in res if a is not None))
    w = jnp.ones((), dtype) if pos_weight is None else pos_weight.astype(dtype)
    return logits.astype(dtype), targets.astype(dtype), jnp.broadcast_to(w, logits.shape)
