"""Mistakes in losses: cross-entropies of logits with labels, a divergence, Huber's and the squared error."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from .form import Original, Planted
from .planting import FEW_DIGITS, at_right, by_another_cotangent, from_right, instead, narrow, wide

SMOOTHING, Z_LOSS, DELTA = 0.1, 1e-4, 1.0


def _softmax(z):
    """Logarithms of the probabilities in float32 or wider, the probabilities, and the log of their sum."""
    z = wide(z)
    largest = z.max(-1, keepdims=True)
    e = jnp.exp(z - largest)
    total = e.sum(-1, keepdims=True)
    return z - largest - jnp.log(total), e / total, (largest + jnp.log(total))[:, 0]


def _one_hot(labels, like):
    return (labels[:, None] == jnp.arange(like.shape[1])[None, :]).astype(like.dtype)


def _cross_entropy_fwd(logits, labels):
    log_p, p, _ = _softmax(logits)
    loss = -(log_p * _one_hot(labels, log_p)).sum(-1)
    return loss.astype(logits.dtype), (p, labels)


def _cross_entropy_bwd(res, d_loss):
    p, labels = res
    return (wide(d_loss)[:, None] * (p - _one_hot(labels, p))).astype(d_loss.dtype), None


def _cross_entropy(logits, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], -1)[:, 0]


def _smoothed(labels, like):
    return (1 - SMOOTHING) * _one_hot(labels, like) + SMOOTHING / like.shape[1]


def _smoothing_fwd(logits, labels):
    log_p, p, _ = _softmax(logits)
    loss = -(log_p * _smoothed(labels, log_p)).sum(-1).mean()
    return loss.astype(logits.dtype), (p, labels)


def _smoothing_bwd(res, d_loss):
    p, labels = res
    d_logits = wide(d_loss) / p.shape[0] * (p - _smoothed(labels, p))
    return d_logits.astype(d_loss.dtype), None


def _smoothing(logits, labels):
    log_p = jax.nn.log_softmax(logits)
    at_label = jnp.take_along_axis(log_p, labels[:, None], -1)[:, 0]
    return jnp.mean(-(1 - SMOOTHING) * at_label - SMOOTHING * jnp.mean(log_p, -1))


def _weighted_fwd(logits, labels, weights):
    log_p, p, _ = _softmax(logits)
    losses = -(log_p * _one_hot(labels, log_p)).sum(-1)
    w = wide(weights)
    total = (w * losses).sum() / w.sum()
    return total.astype(logits.dtype), (p, labels, w, losses, total)


def _weighted_bwd(res, d_loss):
    p, labels, w, losses, total = res
    d_losses = wide(d_loss) * w / w.sum()
    d_weights = wide(d_loss) * (losses - total) / w.sum()
    d_logits, d_weights = narrow(d_loss.dtype, d_losses[:, None] * (p - _one_hot(labels, p)), d_weights)
    return d_logits, None, d_weights


def _weighted(logits, labels, weights):
    return jnp.average(_cross_entropy(logits, labels), weights=weights)


def _z_loss_fwd(logits, labels):
    log_p, p, log_sum = _softmax(logits)
    loss = -(log_p * _one_hot(labels, log_p)).sum(-1) + Z_LOSS * log_sum**2
    return loss.astype(logits.dtype), (p, labels, log_sum)


def _z_loss_bwd(res, d_loss):
    p, labels, log_sum = res
    d_logits = (1 + 2 * Z_LOSS * log_sum)[:, None] * p - _one_hot(labels, p)
    return (wide(d_loss)[:, None] * d_logits).astype(d_loss.dtype), None


def _z_loss(logits, labels):
    return _cross_entropy(logits, labels) + Z_LOSS * jax.nn.logsumexp(logits, -1) ** 2


def _temperature_fwd(logits, shift, temperature, labels):
    z = (wide(logits) + wide(shift)[None, :]) / wide(temperature)
    log_p, p, _ = _softmax(z)
    loss = -(log_p * _one_hot(labels, log_p)).sum(-1)
    return loss.astype(logits.dtype), (p, z, temperature, labels)


def _temperature_bwd(res, d_loss):
    p, z, temperature, labels = res
    dz = wide(d_loss)[:, None] * (p - _one_hot(labels, p)) / wide(temperature)
    return *narrow(d_loss.dtype, dz, dz.sum(0), -(dz * z).sum()), None


def _temperature(logits, shift, temperature, labels):
    return _cross_entropy((logits + shift[None, :]) / temperature, labels)


def _divergence_fwd(a, b):
    (log_p, p, _), (log_q, q, _) = _softmax(a), _softmax(b)
    return (p * (log_p - log_q)).sum(-1).astype(a.dtype), (p, q, log_p - log_q)


def _divergence_bwd(res, d_loss):
    p, q, log_ratio = res
    above = log_ratio - jnp.take_along_axis(log_ratio, p.argmax(-1, keepdims=True), -1)  # for p near one
    d = wide(d_loss)[:, None]
    return narrow(d_loss.dtype, d * p * (above - (p * above).sum(-1, keepdims=True)), d * (q - p))


def _divergence(a, b):
    log_p, log_q = jax.nn.log_softmax(a), jax.nn.log_softmax(b)
    return jnp.sum(jnp.exp(log_p) * (log_p - log_q), -1)


def _huber_fwd(y, target):
    e = wide(y) - wide(target)
    c = jnp.clip(e, -DELTA, DELTA)
    return (c * (e - c / 2)).sum(-1).astype(y.dtype), e


def _huber_bwd(e, d_loss):
    dy = (wide(d_loss)[:, None] * jnp.clip(e, -DELTA, DELTA)).astype(d_loss.dtype)
    return dy, -dy


def _huber(y, target):
    e = jnp.abs(y - target)
    return jnp.sum(jnp.where(e <= DELTA, e**2 / 2, DELTA * (e - DELTA / 2)), -1)


def _squared_fwd(y, target):
    e = wide(y) - wide(target)
    return (e * e).mean().astype(y.dtype), e


def _squared_bwd(e, d_loss):
    dy = (2 * wide(d_loss) / e.size * e).astype(d_loss.dtype)
    return dy, -dy


def _logits(rng, realistic) -> Any:
    count, classes = (64, 100) if realistic else (5, 7)
    labels = rng.integers(0, classes, count)
    labels[1] = 0
    return 2 * rng.normal(size=(count, classes)), labels


def _weighted_args(rng, realistic):
    logits, labels = _logits(rng, realistic)
    return logits, labels, rng.uniform(0.5, 2, labels.shape)


def _temperature_args(rng, realistic):
    logits, labels = _logits(rng, realistic)
    return logits, rng.normal(size=logits.shape[1]), rng.uniform(1.2, 1.8, ()), labels


def _two(rng, realistic):
    shape = (64, 100) if realistic else (5, 7)
    return 2 * rng.normal(size=shape), rng.normal(size=shape)


ORIGINALS = {
    "cross-entropy": Original(_cross_entropy_fwd, _cross_entropy_bwd, _cross_entropy, _logits),
    "mean cross-entropy with smoothed labels": Original(_smoothing_fwd, _smoothing_bwd, _smoothing, _logits),
    "weighted mean of cross-entropies": Original(_weighted_fwd, _weighted_bwd, _weighted, _weighted_args),
    "cross-entropy with z-loss": Original(_z_loss_fwd, _z_loss_bwd, _z_loss, _logits),
    "cross-entropy with shift and temperature": Original(
        _temperature_fwd, _temperature_bwd, _temperature, _temperature_args
    ),
    "divergence": Original(_divergence_fwd, _divergence_bwd, _divergence, _two),
    "Huber": Original(_huber_fwd, _huber_bwd, _huber, _two),
    "mean squared error": Original(_squared_fwd, _squared_bwd, lambda y, t: jnp.mean((y - t) ** 2), _two),
}

_instead = functools.partial(instead, ORIGINALS)
_from = functools.partial(from_right, ORIGINALS)
_at = functools.partial(at_right, ORIGINALS)
_by = functools.partial(by_another_cotangent, ORIGINALS)


def _naive_softmax(logits, labels):
    """The loss right, its residual by the exponentials themselves."""
    loss, _ = _cross_entropy_fwd(logits, labels)
    e = jnp.exp(wide(logits))
    return loss, (e / e.sum(-1, keepdims=True), labels)


def _smoothing_spares_the_label(res, d_loss, _):
    p, y = res[0], _one_hot(res[1], res[0])
    targets = (1 - SMOOTHING) * y + SMOOTHING / (p.shape[1] - 1) * (1 - y)
    return (wide(d_loss) / p.shape[0] * (p - targets)).astype(d_loss.dtype)


def _plain(res, d_loss, _):
    """The plain mean's cotangent, of labels neither smoothed nor weighted."""
    p, labels, *_ = res
    return (wide(d_loss) / p.shape[0] * (p - _one_hot(labels, p))).astype(d_loss.dtype)


def _divergence_by(slope):
    """The divergence's first cotangent by `slope(p, q, log_ratio)`."""

    def changed(res, d_loss, _):
        return (wide(d_loss)[:, None] * slope(*res)).astype(d_loss.dtype)

    return changed


def _outside(change):
    """Huber's `dy` with `change(e)` instead of its slope where e is beyond the threshold."""

    def changed(e, d_loss, dy):
        return jnp.where(jnp.abs(e) > DELTA, wide(d_loss)[:, None] * change(e), wide(dy)).astype(dy.dtype)

    return changed


_CE = "cross-entropy"
_MEAN = "mean cross-entropy with smoothed labels"
_WEIGHTED = "weighted mean of cross-entropies"
_Z = "cross-entropy with z-loss"
_T = "cross-entropy with shift and temperature"
_KL = "divergence"
_MSE = "mean squared error"

MISTAKES = {
    "probabilities without the label": _instead(
        _CE, lambda r, d: ((wide(d)[:, None] * r[0]).astype(d.dtype), None), "derivative", "conditional"
    ),
    "labels one too small": _instead(_CE, lambda r, d: _cross_entropy_bwd((r[0], r[1] - 1), d)),
    "label 0 taken for padding": _from(
        0, _CE, lambda r, d, c: jnp.where(r[1][:, None] == 0, 0, c), "conditional"
    ),
    "cross-entropy without its cotangent": _by(_CE, jnp.ones_like, "cotangent ignored"),
    "cross-entropy by the mean cotangent": _by(
        _CE, lambda d: jnp.full_like(d, d.mean()), "cotangent ignored"
    ),
    "cross-entropy over the number of examples": _by(_CE, lambda d: d / d.size, "factor"),
    "cotangent for the labels": _from(1, _CE, lambda r, d, c: jnp.zeros_like(r[0][:, 0]), "structure"),
    "integer cotangent for the labels": _from(1, _CE, lambda r, d, c: jnp.zeros_like(r[1]), "structure"),
    "softmax without its maximum": Planted(_CE, _naive_softmax, _cross_entropy_bwd, ("not finite",)),
    "smoothing forgotten": _from(0, _MEAN, _plain),
    "smoothing spares the label": _from(0, _MEAN, _smoothing_spares_the_label),
    "mean over examples twice": _from(0, _MEAN, lambda r, d, c: c / len(r[1]), "factor", "reduction"),
    "weights forgotten": _from(0, _WEIGHTED, _plain, "input"),
    "weights over their number": _from(
        0, _WEIGHTED, lambda r, d, c: (wide(c) * r[2].mean()).astype(d.dtype), "factor"
    ),
    "sum of the weights constant": _from(
        2, _WEIGHTED, lambda r, d, c: (wide(d) * r[3] / r[2].sum()).astype(d.dtype), "path"
    ),
    "weights taken for data": _at(2, _WEIGHTED, jnp.zeros_like, "zero"),
    "z-loss forgotten": _instead(_Z, lambda r, d: _cross_entropy_bwd(r[:2], d), "statistic", "path"),
    "temperature forgotten": _from(0, _T, lambda r, d, c: c * r[2], "factor"),
    "temperature negated": _at(2, _T, jnp.negative, "sign"),
    "temperature not squared": _from(2, _T, lambda r, d, c: c * r[2], "factor"),
    "temperature averaged": _from(2, _T, lambda r, d, c: c / d.shape[0], "reduction", "factor"),
    "shift not summed": _from(1, _T, lambda r, d, c: _temperature_bwd(r, d)[0], "structure", "reduction"),
    "second distribution constant": _at(1, _KL, jnp.zeros_like, "zero"),
    "first distribution's sum constant": _from(
        0, _KL, _divergence_by(lambda p, q, log_ratio: p * (log_ratio + 1)), "statistic"
    ),
    "divergence not subtracted": _from(0, _KL, _divergence_by(lambda p, q, log_ratio: p * log_ratio)),
    "divergence the other way": _from(0, _KL, _divergence_by(lambda p, q, _: p - q)),
    "distributions exchanged": _instead(_KL, lambda r, d: _divergence_bwd(r, d)[::-1], "exchanged"),
    # its reference's mask left out, and the derivative of its linear part: either is what was done
    "quadratic beyond the threshold": _from(0, "Huber", _outside(lambda e: e), "conditional", "constant"),
    "zero beyond the threshold": _from(0, "Huber", _outside(jnp.zeros_like), "conditional", "derivative"),
    "slope without its sign": _from(0, "Huber", _outside(lambda e: jnp.full_like(e, DELTA)), "conditional"),
    "target not negated": _at(1, "Huber", jnp.negative, "sign"),
    "two of the square forgotten": _at(0, _MSE, lambda c: c / 2, "factor"),
    "mean over examples only": _at(0, _MSE, lambda c: c * c.shape[1], "factor", "reduction"),
    "mean over everything twice": _at(0, _MSE, lambda c: c / c.size, "factor", "reduction"),
    "error through float16": _instead(
        _MSE,
        lambda e, d: _squared_bwd(e.astype(jnp.float16).astype(e.dtype), d),
        "precision",
        none_in=FEW_DIGITS,
    ),
    "wrong for a batch of one": _from(0, _MSE, lambda r, d, c: c if len(c) > 1 else c / 2, "batch"),
}
