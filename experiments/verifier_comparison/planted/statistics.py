"""Mistakes around statistics: evaluation mode, groups of an image's channels, a covariance, a cosine.

Batch norm in evaluation mode takes its mean and variance from arguments; a covariance is of rows.
"""

from functools import partial

import jax.numpy as jnp

from . import normalization
from .form import Original, Planted
from .planting import edited, narrow, normal, wide

EPS = 1e-5
GROUPS = 2


# Batch norm in evaluation mode: (x - mean) / sqrt(variance + eps) * gain + bias.


def evaluation(x, gain, bias, mean, variance):
    return (x - mean[None]) / jnp.sqrt(variance[None] + EPS) * gain[None] + bias[None]


def evaluation_fwd(x, gain, bias, mean, variance):
    hat, _ = _standardized(*map(wide, (x, mean, variance)))
    return (hat * wide(gain)[None] + wide(bias)[None]).astype(x.dtype), (x, gain, mean, variance)


def _standardized(x, mean, variance):
    inverse = 1 / jnp.sqrt(variance + EPS)
    return (x - mean[None]) * inverse[None], inverse


def evaluation_bwd(residuals, dy):
    x, gain, mean, variance = map(wide, residuals)
    hat, inverse = _standardized(x, mean, variance)
    dy = wide(dy)
    dh = dy * gain[None]
    dx = dh * inverse[None]
    d_variance = -(dh * hat).sum(0) * inverse**2 / 2
    return narrow(residuals[0].dtype, dx, (dy * hat).sum(0), dy.sum(0), -dx.sum(0), d_variance)


def _evaluation_args(rng, realistic):
    rows, features = (48, 96) if realistic else (5, 7)
    gain, mean = 1 + 0.3 * normal(rng, features), 0.5 * normal(rng, features)
    return normal(rng, rows, features), gain, normal(rng, features), mean, rng.uniform(0.5, 2, features)


def _as_in_training(residuals, dy, dx, *others):
    x, gain, mean, variance = map(wide, residuals)
    hat, inverse = _standardized(x, mean, variance)
    dh = wide(dy) * gain[None]
    through = dh - dh.mean(0)[None] - hat * (dh * hat).mean(0)[None]
    return (inverse[None] * through).astype(dy.dtype), *others


def _mean_alone_as_in_training(residuals, dy, dx, *others):
    return dx - dx.mean(0)[None], *others


def _gain_from_x(residuals, dy, dx, dgain, *others):
    return dx, (wide(dy) * wide(residuals[0])).sum(0).astype(dy.dtype), *others


def _captured(residuals, dy, dx, *others):
    """The backward of evaluation mode, with an inverse deviation that was captured once."""
    features = dx.shape[1]
    inverse = jnp.asarray([0.5 + 0.25 * (i % 5) for i in range(features)], dy.dtype)
    return dy * residuals[1][None] * inverse[None], *others


# Group norm of images, NHWC.


def image_norm(x, gain, bias):
    batch, height, width, channels = x.shape
    groups = x.reshape(batch, height, width, GROUPS, channels // GROUPS)
    centred = groups - jnp.mean(groups, (1, 2, 4), keepdims=True)
    hat = centred / jnp.sqrt(jnp.var(groups, (1, 2, 4), keepdims=True) + EPS)
    return hat.reshape(x.shape) * gain[None, None, None] + bias[None, None, None]


def _image_hat(x, axes=(1, 2, 4)):
    groups = wide(x).reshape(*x.shape[:3], GROUPS, -1)
    centred = groups - groups.mean(axes, keepdims=True)
    inverse = 1 / jnp.sqrt(jnp.mean(centred**2, axes, keepdims=True) + EPS)
    return centred * inverse, inverse


def image_norm_fwd(x, gain, bias):
    hat, _ = _image_hat(x)
    y = hat.reshape(x.shape) * wide(gain)[None, None, None] + wide(bias)[None, None, None]
    return y.astype(x.dtype), (x, gain)


def image_norm_bwd(residuals, dy, *, axes=(1, 2, 4), mean=True, variance=True, gain_over=(0, 1, 2)):
    x, gain = residuals
    hat, inverse = _image_hat(x)
    dy = wide(dy)
    dh = (dy * wide(gain)[None, None, None]).reshape(hat.shape)
    dx = dh
    if mean:
        dx = dx - dh.mean(axes, keepdims=True)
    if variance:
        dx = dx - hat * (dh * hat).mean(axes, keepdims=True)
    dgain = (dy * hat.reshape(x.shape))[tuple(slice(None) if a in gain_over else 0 for a in range(3))]
    dgain = dgain.sum(tuple(range(len(gain_over))))
    return narrow(x.dtype, (inverse * dx).reshape(x.shape), dgain, dy.sum((0, 1, 2)))


def _image_args(rng, realistic):
    shape = (8, 6, 5, 32) if realistic else (2, 3, 5, 4)
    return normal(rng, *shape), 1 + 0.3 * normal(rng, shape[-1]), normal(rng, shape[-1])


# The covariance of columns: (x - mean)^T (x - mean) / n.


def covariance(x):
    centred = x - jnp.mean(x, 0, keepdims=True)
    return jnp.dot(centred.T, centred) / x.shape[0]


def covariance_fwd(x):
    centred = wide(x) - wide(x).mean(0, keepdims=True)
    return (centred.T @ centred / len(x)).astype(x.dtype), x


def covariance_bwd(x, dy, *, both=True):
    centred = wide(x) - wide(x).mean(0, keepdims=True)
    dy = wide(dy)
    dx = centred @ (dy + dy.T if both else dy) / len(x)
    return narrow(x.dtype, dx - dx.mean(0, keepdims=True))


def _rows_args(rng, realistic):
    return (normal(rng, *((48, 24) if realistic else (6, 4))),)


# The cosine of each pair of rows.


def cosine(x, y):
    lengths = jnp.sqrt(jnp.sum(x**2, 1) + EPS), jnp.sqrt(jnp.sum(y**2, 1) + EPS)
    return jnp.sum(x * y, 1) / (lengths[0] * lengths[1])


def cosine_fwd(x, y):
    u, v = _unit(wide(x))[0], _unit(wide(y))[0]
    return (u * v).sum(1).astype(x.dtype), (x, y)


def _unit(x):
    over = 1 / jnp.sqrt((x * x).sum(1, keepdims=True) + EPS)
    return x * over, over


def cosine_bwd(residuals, d, *, project=(True, True), divide=True):
    x, y = map(wide, residuals)
    (u, over_x), (v, over_y) = _unit(x), _unit(y)
    d, cos = wide(d)[:, None], (u * v).sum(1, keepdims=True)
    dx = d * (v - (u * cos if project[0] else 0)) * (over_x if divide else 1)
    dy = d * (u - (v * cos if project[1] else 0)) * over_y
    return narrow(residuals[0].dtype, dx, dy)


def _pair_args(rng, realistic):
    shape = (48, 24) if realistic else (5, 3)
    return normal(rng, *shape), normal(rng, *shape)


ORIGINALS = {
    "batch norm in evaluation mode": Original(evaluation_fwd, evaluation_bwd, evaluation, _evaluation_args),
    "group norm of images": Original(image_norm_fwd, image_norm_bwd, image_norm, _image_args),
    "covariance": Original(covariance_fwd, covariance_bwd, covariance, _rows_args),
    "cosine": Original(cosine_fwd, cosine_bwd, cosine, _pair_args),
}

_evaluation = partial(Planted, "batch norm in evaluation mode", evaluation_fwd)
_image = partial(Planted, "group norm of images", image_norm_fwd)
_covariance = partial(Planted, "covariance", covariance_fwd)
_cosine = partial(Planted, "cosine", cosine_fwd)
_training = partial(Planted, "batch norm", normalization.batch_norm_fwd)
_rms = partial(Planted, "RMS norm", normalization.rms_norm_fwd)


def _hat_from_output(residuals, dy, dx, dgain):
    """The gain's cotangent from x hat recovered as y over the gain."""
    x, gain = residuals
    y, _ = normalization.rms_norm_fwd(x, gain)
    return dx, (wide(dy) * (wide(y) / wide(gain)[None])).sum(0).astype(dy.dtype)


MISTAKES = {
    "evaluation mode: dx as in training": _evaluation(
        edited(evaluation_bwd, _as_in_training), ("statistic",)
    ),
    "evaluation mode: the mean as in training": _evaluation(
        edited(evaluation_bwd, _mean_alone_as_in_training), ("statistic", "reduction")
    ),
    "evaluation mode: the gain's from x": _evaluation(edited(evaluation_bwd, _gain_from_x), ("value",)),
    "evaluation mode: the mean's is that of the bias": _evaluation(
        edited(evaluation_bwd, lambda r, dy, dx, dg, db, dm, dv: (dx, dg, db, -db, dv)), ("exchanged",)
    ),
    "evaluation mode: the bias's is the sum of dx": _evaluation(
        edited(evaluation_bwd, lambda r, dy, dx, dg, db, dm, dv: (dx, dg, -dm, dm, dv)), ("exchanged",)
    ),
    "evaluation mode: the variance's without its half": _evaluation(
        edited(evaluation_bwd, lambda r, dy, dx, dg, db, dm, dv: (dx, dg, db, dm, 2 * dv)), ("factor",)
    ),
    "training mode: dx by a captured deviation": _training(
        edited(normalization.batch_norm_bwd, _captured), ("statistic",)
    ),
    "RMS norm: x hat from the output over the gain": _rms(
        edited(normalization.rms_norm_bwd, _hat_from_output), ("not finite",)
    ),
    "images: the means are of a row": _image(partial(image_norm_bwd, axes=(2, 4)), ("reduction",)),
    "images: the means are of one channel": _image(partial(image_norm_bwd, axes=(1, 2)), ("reduction",)),
    "images: the mean is a constant": _image(partial(image_norm_bwd, mean=False), ("statistic",)),
    "images: the variance is a constant": _image(partial(image_norm_bwd, variance=False), ("statistic",)),
    "images: the gain's is of the first image": _image(
        partial(image_norm_bwd, gain_over=(1, 2)), ("reduction",)
    ),
    "images: the bias's is a mean over columns": _image(
        edited(image_norm_bwd, lambda r, dy, dx, dg, db: (dx, dg, db / dy.shape[2])), ("factor", "reduction")
    ),
    "covariance: one of the two shares": _covariance(
        partial(covariance_bwd, both=False), ("path", "derivative")
    ),
    "covariance: n - 1 for n": _covariance(
        edited(covariance_bwd, lambda x, dy, dx: (dx * (len(x) / max(len(x) - 1, 1)),)), ("factor",)
    ),
    "covariance: from above the diagonal alone": _covariance(
        lambda x, dy: covariance_bwd(x, jnp.triu(dy)), ("cotangent ignored",)
    ),
    "cosine: the length of x is a constant": _cosine(
        partial(cosine_bwd, project=(False, True)), ("statistic",)
    ),
    "cosine: not divided by the length of x": _cosine(
        partial(cosine_bwd, divide=False), ("derivative", "factor")
    ),
    "cosine: one for both": _cosine(edited(cosine_bwd, lambda r, d, dx, dy: (dx, dx)), ("exchanged",)),
}
