r"""Cross-entropy of a softmax, from logits; one value per example.   Axes: B leading, V classes.

The target is a label y_b or a distribution t_bv (for a label, t_bv = [v = y_b]), which need not sum to
one. Static options: a = `label_smoothing`, c = `z_loss`, `ignore_label`. w_b is the optional weight.

    q_bv  = (1 - a) t_bv + a/V                                      (1)
    Z_b   = log sum_v e^(x_bv),   p_bv = e^(x_bv - Z_b)             (2)
    l_b   = w_b (sum_v q_bv (Z_b - x_bv) + c Z_b^2)                 (3)

    dx_bv = dl_b w_b ((sum_u q_bu + 2 c Z_b) p_bv - q_bv)           (4)
    dt_bv = dl_b w_b (1 - a) (Z_b - x_bv)                           (5)
    dw_b  = dl_b l_b / w_b                                          (6)

With sum q = 1 and no options (4) is the well-known p - q. An ignored label has loss and gradient zero,
whatever the example holds, and so has the gradient of one whose loss is not used (dl_b w_b = 0); a label
outside 0..V-1 has loss NaN, so that it is seen, and gradient zero.

Saved: the inputs, and Z as two parts, the maximum m and sum e^(x - m): x - m is exact where x - Z would
round away the digits of p for large logits. With weights, also l/w.

Szegedy et al. 2016, arXiv:1512.00567 (label smoothing); Chowdhery et al. 2022, arXiv:2204.02311 (z-loss).
"""

from math import inf
from numbers import Integral
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from manual_bp import checks
from manual_bp.precision import accumulator, times
from manual_bp.sharding import is_split, like

Targets = Integer[Array, "*B"] | Float[Array, "*B V"]


class Residuals(NamedTuple):
    """The inputs, m and sum e^(x - m) (..., 1), and with weights the unweighted loss (...)."""

    logits: Float[Array, "*B V"]
    targets: Targets
    weights: Float[Array, "*B"] | None
    maximum: Float[Array, "*B 1"]
    total: Float[Array, "*B 1"]
    loss: Float[Array, "*B"] | None


def fwd(
    logits: Float[Array, "*B V"],
    targets: Targets,
    weights: Float[Array, "*B"] | None = None,
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    ignore_label: int | None = None,
) -> tuple[Float[Array, "*B"], Residuals]:
    """The loss of each example."""
    _check(logits, targets, weights, label_smoothing, z_loss, ignore_label)
    label_smoothing, z_loss = float(label_smoothing), float(z_loss)
    dtype = _accumulator(logits, targets, weights)
    x = logits.astype(dtype)
    m = jnp.max(x, -1, keepdims=True)
    total = jnp.sum(jnp.exp(x - m), -1, keepdims=True)  # (2): Z = m + log(total)
    loss = _cross_entropy(x, targets, m, total, label_smoothing)
    if z_loss:
        loss += z_loss * jnp.square((m + jnp.log(total))[..., 0])  # (3)

    def counted(loss: Array) -> Array:
        """0 for what is ignored, also where it is no number, and NaN for a label outside 0..V-1."""
        if _is_distribution(targets):
            return loss
        ignored, valid = _label_masks(targets, logits.shape[-1], ignore_label)
        return jnp.where(valid | ignored, jnp.where(ignored, 0, loss), jnp.nan)

    saved = None if weights is None else counted(loss)
    loss = counted(loss if weights is None else loss * weights.astype(dtype))
    return loss.astype(logits.dtype), Residuals(logits, targets, weights, m, total, saved)


def bwd(
    res: Residuals,
    dloss: Float[Array, "*B"],
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    ignore_label: int | None = None,
) -> Array | tuple[Array, ...]:
    """The cotangents of the logits, of floating point targets and of the weights where given."""
    logits, targets, weights, m, total, loss = res
    checks.per_example("softmax_cross_entropy", "dloss", dloss, logits)
    label_smoothing, z_loss = float(label_smoothing), float(z_loss)
    dtype = _accumulator(logits, targets, weights)
    x = logits.astype(dtype)
    dl = dloss.astype(dtype)
    dl_w = dl if weights is None else dl * weights.astype(dtype)
    distribution = _is_distribution(targets)
    if not distribution:
        _, valid = _label_masks(targets, logits.shape[-1], ignore_label)
        dl_w = jnp.where(valid, dl_w, 0)
    dl_w = dl_w[..., None]

    # A number is added at each label where dlogits is ready in memory; otherwise q is part of one sweep.
    added = not distribution and like(x) is None and dtype == logits.dtype
    q = label_smoothing / x.shape[-1] if added else _target(targets, x, label_smoothing)
    mass = jnp.sum(q, -1, keepdims=True) if distribution else 1.0
    if z_loss:
        mass += 2 * z_loss * (m + jnp.log(total))
    dlogits = times(dl_w, (mass / total) * jnp.exp(x - m) - q)  # (4)
    if added:
        dlogits = _add_at(dlogits, targets, (label_smoothing - 1) * dl_w[..., 0])
    cotangents = [dlogits.astype(logits.dtype)]
    if distribution:
        dtargets = times(dl_w * (1 - label_smoothing), jnp.log(total) - (x - m))  # (5)
        cotangents.append(dtargets.astype(targets.dtype))
    if weights is not None:
        assert loss is not None, "fwd saves the loss with the weights"
        cotangents.append(times(dl, loss).astype(weights.dtype))  # (6)
    return tuple(cotangents) if len(cotangents) > 1 else cotangents[0]


def _cross_entropy(
    x: Array, targets: Targets, m: Array, total: Array, label_smoothing: float
) -> Float[Array, "*B"]:
    """sum_v q_bv (Z_b - x_bv), without the zeros of q for labels."""
    if _is_distribution(targets) or is_split(x):
        q = _target(targets, x, label_smoothing)
        nll = jnp.log(total) - (x - m)
        return jnp.sum(times(q, nll), -1)  # a class may be ruled out by x = -inf
    at_label = jnp.take_along_axis(x, _inside(targets, x)[..., None], -1)
    nll = (jnp.log(total) - (at_label - m))[..., 0]
    if not label_smoothing:
        return nll
    mean_nll = (jnp.log(total) - (jnp.mean(x, -1, keepdims=True) - m))[..., 0]
    return (1 - label_smoothing) * nll + label_smoothing * mean_nll


def _add_at(x: Array, labels: Array, values: Array) -> Array:
    """`x` with a value added at the label of each row."""

    def in_row(row: Array, label: Array, value: Array) -> Array:
        return row.at[label].add(value, mode="promise_in_bounds")

    for _ in labels.shape:
        in_row = jax.vmap(in_row)
    return in_row(x, _inside(labels, x), values)


def _inside(labels: Array, x: Array) -> Array:
    """The labels, those outside 0..V-1 at its ends: their rows count nothing."""
    return jnp.clip(_wide_labels(labels), 0, x.shape[-1] - 1)


def _is_distribution(targets: Targets) -> bool:
    return jnp.issubdtype(targets.dtype, jnp.floating)


def _target(targets: Targets, x: Array, label_smoothing: float) -> Array:
    """(1) in the shape and dtype of `x`."""
    if _is_distribution(targets):
        t = targets.astype(x.dtype)
    else:
        labels = _wide_labels(targets)[..., None]
        classes = jax.lax.broadcasted_iota(labels.dtype, x.shape, x.ndim - 1)
        t = (classes == labels).astype(x.dtype)
    if not label_smoothing:
        return t
    return (1 - label_smoothing) * t + label_smoothing / x.shape[-1]


def _label_masks(labels: Array, classes: int, ignore_label: int | None) -> tuple[Array, Array]:
    """Which labels are ignored, and which count."""
    labels = _wide_labels(labels)
    if ignore_label is None:
        ignored: Bool[Array, "*B"] = jnp.zeros(labels.shape, bool)
    else:
        ignored = labels == int(ignore_label)
    return ignored, (labels >= 0) & (labels < classes) & ~ignored


def _wide_labels(labels: Array) -> Array:
    """Labels in a dtype that also holds the number of classes and the ignored label."""
    return labels.astype(jnp.int64 if labels.dtype.itemsize > 4 else jnp.int32)


def _accumulator(logits: Array, targets: Targets, weights: Array | None) -> jnp.dtype:
    return accumulator(*(a.dtype for a in (logits, targets, weights) if a is not None))


def _check(
    logits: Array,
    targets: Array,
    weights: Array | None,
    label_smoothing: float,
    z_loss: float,
    ignore_label: int | None,
) -> None:
    op = "softmax_cross_entropy"
    checks.floating(op, logits=logits)
    checks.features(op, logits=logits)
    checks.array(op, "integer labels or of distributions", targets=targets)
    if logits.shape[-1] == 0:
        raise ValueError(f"{op}: logits has shape {logits.shape}; expected at least one class")
    batch = logits.shape[:-1]
    if _is_distribution(targets):
        checks.shape(op, "targets", targets, logits.shape, ", a distribution over the classes")
        wanted = "None, as the targets are distributions"
        checks.option(op, "ignore_label", ignore_label, ignore_label is None, wanted)
    elif jnp.issubdtype(targets.dtype, jnp.integer):
        checks.shape(op, "targets", targets, batch, ", one label per example")
    else:
        raise TypeError(
            f"{op}: targets has dtype {targets.dtype}; expected integer labels or a floating point "
            "distribution"
        )
    if weights is not None:
        checks.floating(op, weights=weights)
        checks.shape(op, "weights", weights, batch, ", one weight per example")
    check_options(op, label_smoothing, z_loss, ignore_label)


def check_options(op: str, label_smoothing: Any, z_loss: Any, ignore_label: Any) -> None:
    """Raise unless the options are what they must be for labels."""
    checks.number(op, "label_smoothing", label_smoothing, lambda a: 0 <= a <= 1, "a number from 0 to 1")
    checks.number(op, "z_loss", z_loss, lambda c: 0 <= c < inf, "a number of at least 0")
    if ignore_label is not None:
        expected = "None or an integer from -2^31 to 2^31 - 1"
        checks.number(op, "ignore_label", ignore_label, _is_label, expected)


def _is_label(value: Any) -> bool:
    return isinstance(value, Integral) and -(2**31) <= int(value) < 2**31
