"""Mistakes in layer, batch, RMS and group norm, and in rows of unit length.

The norms keep their input and find their statistics again in the backward.
"""

from functools import partial

import jax.numpy as jnp

from .form import Original, Planted
from .planting import SINGLE, edited, narrow, normal, wide

EPS = 1e-5
GROUPS = 2
TILE = 4


# Layer norm and batch norm: (x - mean) / sqrt(variance + eps) * gain + bias, of rows or of columns.


def layer_norm(x, gain, bias):
    centred = x - jnp.mean(x, 1, keepdims=True)
    return centred / jnp.sqrt(jnp.var(x, 1, keepdims=True) + EPS) * gain[None] + bias[None]


def batch_norm(x, gain, bias):
    centred = x - jnp.mean(x, 0, keepdims=True)
    return centred / jnp.sqrt(jnp.var(x, 0, keepdims=True) + EPS) * gain[None] + bias[None]


def _normalised(x, axes, eps=EPS):
    centred = x - x.mean(axes, keepdims=True)
    inverse = 1 / jnp.sqrt(jnp.mean(centred**2, axes, keepdims=True) + eps)
    return centred * inverse, inverse


def _through(dh, hat, inverse, axes, mean=True, variance=True, ddof=0):
    """From the cotangent of `hat` to that of x; each statistic may be taken for a constant."""
    dx = dh
    if mean:
        dx = dx - dh.mean(axes, keepdims=True)
    if variance:
        count = dh.size // dh.sum(axes).size
        dx = dx - hat * jnp.sum(dh * hat, axes, keepdims=True) / max(count - ddof, 1)
    return inverse * dx


def layer_norm_fwd(x, gain, bias):
    hat, _ = _normalised(wide(x), 1)
    return (hat * wide(gain)[None] + wide(bias)[None]).astype(x.dtype), (x, gain)


def batch_norm_fwd(x, gain, bias):
    hat, _ = _normalised(wide(x), 0)
    return (hat * wide(gain)[None] + wide(bias)[None]).astype(x.dtype), (x, gain)


def _affine_bwd(residuals, dy, *, axis, sums_over=None, eps=EPS, with_gain=True, **through):
    x, gain = residuals
    hat, inverse = _normalised(wide(x), axis, eps)
    dy = wide(dy)
    dh = dy * wide(gain)[None] if with_gain else dy
    dx = _through(dh, hat, inverse, axis if sums_over is None else sums_over, **through)
    return narrow(x.dtype, dx, (dy * hat).sum(0), dy.sum(0))


layer_norm_bwd = partial(_affine_bwd, axis=1)
batch_norm_bwd = partial(_affine_bwd, axis=0)


def _affine_args(rng, realistic):
    rows, features = (48, 96) if realistic else (5, 7)
    return normal(rng, rows, features), 1 + 0.3 * normal(rng, features), normal(rng, features)


def _in_float32(residuals, dy):
    narrowed = narrow(jnp.float32, *residuals, dy)
    return narrow(dy.dtype, *layer_norm_bwd(narrowed[:-1], narrowed[-1]))


def _sums_in_bfloat16(residuals, dy, dx, dgain, dbias):
    return dx, dgain, dy.astype(jnp.bfloat16).sum(0).astype(dy.dtype)


def _constant_for_one_row(residuals, dy, dx, dgain, dbias):
    x, gain = residuals
    if len(x) == 1:
        dx = (wide(dy * gain[None]) / EPS**0.5).astype(x.dtype)
    return dx, dgain, dbias


def _without_tail(residuals, dy, dx, dgain, dbias):
    x, _ = residuals
    full = len(x) // TILE * TILE
    hat, _ = _normalised(wide(x), 0)
    return dx, (wide(dy) * hat)[:full].sum(0).astype(x.dtype), dbias


def _gain_from_inputs(residuals, dy, dx, dgain, dbias):
    return dx, jnp.sum(wide(dy) * wide(residuals[0]), 0).astype(dy.dtype), dbias


# RMS norm: x / sqrt(mean of squares + eps) * gain.


def rms_norm(x, gain):
    return x / jnp.sqrt(jnp.mean(x**2, 1, keepdims=True) + EPS) * gain[None]


def rms_norm_fwd(x, gain):
    hat, _ = _scaled(wide(x))
    return (hat * wide(gain)[None]).astype(x.dtype), (x, gain)


def _scaled(x):
    inverse = 1 / jnp.sqrt(jnp.mean(x * x, 1, keepdims=True) + EPS)
    return x * inverse, inverse


def rms_norm_bwd(residuals, dy, *, size=None, power=3, through=True, centre=False, divided=False):
    x, gain = residuals
    hat, inverse = _scaled(wide(x))
    if divided:
        inverse = hat / wide(x)
    dy = wide(dy)
    dh = dy * wide(gain)[None]
    along = jnp.sum(dh * wide(x), 1, keepdims=True) / (x.shape[1] if size is None else size)
    dx = inverse * dh - (inverse**power * wide(x) * along if through else 0)
    if centre:
        dx = dx - inverse * dh.mean(1, keepdims=True)
    return narrow(x.dtype, dx, (dy * hat).sum(0))


# Group norm: the statistics of an image's positions and of the channels of a group.


def group_norm(x, gain):
    batch, positions, channels = x.shape
    groups = x.reshape(batch, positions, GROUPS, channels // GROUPS)
    centred = groups - jnp.mean(groups, (1, 3), keepdims=True)
    hat = centred / jnp.sqrt(jnp.var(groups, (1, 3), keepdims=True) + EPS)
    return hat.reshape(x.shape) * gain[None, None]


def _grouped(x):
    return x.reshape(*x.shape[:2], GROUPS, -1)


def group_norm_fwd(x, gain):
    hat, _ = _normalised(_grouped(wide(x)), (1, 3))
    return (hat.reshape(x.shape) * wide(gain)[None, None]).astype(x.dtype), (x, gain)


def group_norm_bwd(residuals, dy, *, axes=(1, 3), kept=slice(None), **through):
    x, gain = residuals
    hat, inverse = _normalised(_grouped(wide(x)), (1, 3))
    dy = wide(dy)
    dx = _through(_grouped(dy * wide(gain)[None, None]), hat, inverse, axes, **through)
    return narrow(x.dtype, dx.reshape(x.shape), (dy * hat.reshape(x.shape))[:, kept].sum((0, 1)))


def _group_args(rng, realistic):
    shape = (16, 20, 64) if realistic else (3, 5, 6)
    return normal(rng, *shape), 1 + 0.3 * normal(rng, shape[-1])


# Rows of unit length, where a row of zeros stays one.


def unit_rows(x):
    square = jnp.sum(x**2, 1, keepdims=True)
    return jnp.where(square > 0, x / jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def _inverse_length(x):
    largest = jnp.max(jnp.abs(x), 1, keepdims=True)
    scaled = x / jnp.where(largest > 0, largest, 1)
    length = largest * jnp.sqrt(jnp.sum(scaled**2, 1, keepdims=True))
    return jnp.where(length > 0, 1 / jnp.where(length > 0, length, 1), 0)


def unit_rows_fwd(x):
    return (wide(x) * _inverse_length(wide(x))).astype(x.dtype), x


def unit_rows_bwd(x, dy, *, inverse_length=_inverse_length, project=True, divide=True):
    inverse = inverse_length(wide(x))
    y, dx = wide(x) * inverse, wide(dy)
    if project:
        dx = dx - y * jnp.sum(y * dx, 1, keepdims=True)
    return ((inverse * dx if divide else dx).astype(x.dtype),)


def _rows_args(rng, realistic):
    return (normal(rng, *((48, 80) if realistic else (5, 7))),)


ORIGINALS = {
    "layer norm": Original(layer_norm_fwd, layer_norm_bwd, layer_norm, _affine_args),
    "batch norm": Original(batch_norm_fwd, batch_norm_bwd, batch_norm, _affine_args),
    "RMS norm": Original(rms_norm_fwd, rms_norm_bwd, rms_norm, lambda r, n: _affine_args(r, n)[:2]),
    "group norm": Original(group_norm_fwd, group_norm_bwd, group_norm, _group_args),
    "unit rows": Original(unit_rows_fwd, unit_rows_bwd, unit_rows, _rows_args),
}

_layer = partial(Planted, "layer norm", layer_norm_fwd)
_batch = partial(Planted, "batch norm", batch_norm_fwd)
_rms = partial(Planted, "RMS norm", rms_norm_fwd)
_group = partial(Planted, "group norm", group_norm_fwd)
_unit = partial(Planted, "unit rows", unit_rows_fwd)

CONSTANT = ("statistic",)
AXIS = ("reduction",)

MISTAKES = {
    "layer norm: the mean is a constant": _layer(partial(layer_norm_bwd, mean=False), CONSTANT),
    "layer norm: the variance is a constant": _layer(partial(layer_norm_bwd, variance=False), CONSTANT),
    "layer norm: eps is forgotten": _layer(partial(layer_norm_bwd, eps=0.0), ("constant",)),
    "layer norm: the gain is forgotten in dx": _layer(partial(layer_norm_bwd, with_gain=False), ("input",)),
    "layer norm: the backward's means are of columns": _layer(partial(layer_norm_bwd, sums_over=0), AXIS),
    "layer norm: the gain's is a mean over rows": _layer(
        edited(layer_norm_bwd, lambda r, dy, dx, dg, db: (dx, dg / len(dy), db)), ("reduction", "factor")
    ),
    "layer norm: the bias's is not summed": _layer(
        edited(layer_norm_bwd, lambda r, dy, dx, dg, db: (dx, dg, dy)), ("reduction", "structure")
    ),
    "layer norm: the bias's is that of the first row": _layer(
        edited(layer_norm_bwd, lambda r, dy, dx, dg, db: (dx, dg, dy[0])), ("reduction",)
    ),
    "layer norm: the last feature is left out": _layer(
        edited(layer_norm_bwd, lambda r, dy, dx, dg, db: (dx.at[:, -1].set(0), dg, db)), ("conditional",)
    ),
    "layer norm: one element is a hundredth too large": _layer(
        edited(layer_norm_bwd, lambda r, dy, dx, dg, db: (dx.at[0, 3].mul(1.01), dg, db)), ("conditional",)
    ),
    "layer norm: computed in float32": _layer(_in_float32, ("precision",), none_in=SINGLE),
    "batch norm: the statistics are constants": _batch(
        partial(batch_norm_bwd, mean=False, variance=False), CONSTANT
    ),
    "batch norm: n - 1 for n": _batch(partial(batch_norm_bwd, ddof=1), ("factor",)),
    "batch norm: the backward's means are of rows": _batch(partial(batch_norm_bwd, sums_over=1), AXIS),
    "batch norm: gain and bias exchanged": _batch(
        edited(batch_norm_bwd, lambda r, dy, dx, dg, db: (dx, db, dg)), ("exchanged",)
    ),
    "batch norm: the gain's from x, not from x hat": _batch(
        edited(batch_norm_bwd, _gain_from_inputs), ("value",)
    ),
    "batch norm: a batch of one is divided by sqrt(eps)": _batch(
        edited(batch_norm_bwd, _constant_for_one_row), ("batch",)
    ),
    "batch norm: the rows after the last whole tile are dropped": _batch(
        edited(batch_norm_bwd, _without_tail), ("batch", "reduction")
    ),
    "batch norm: the bias's is summed in bfloat16": _batch(
        edited(batch_norm_bwd, _sums_in_bfloat16), ("precision",), none_in=("bfloat16",)
    ),
    "RMS norm: the mean square is a constant": _rms(partial(rms_norm_bwd, through=False), CONSTANT),
    "RMS norm: not divided by the width": _rms(partial(rms_norm_bwd, size=1), ("derivative", "path")),
    "RMS norm: one power of the root for three": _rms(partial(rms_norm_bwd, power=1), ("factor",)),
    "RMS norm: centred like layer norm": _rms(partial(rms_norm_bwd, centre=True), ("added term",)),
    "RMS norm: the root from x hat over x": _rms(partial(rms_norm_bwd, divided=True), ("not finite",)),
    "group norm: the backward's means are of one channel": _group(partial(group_norm_bwd, axes=(1,)), AXIS),
    "group norm: the backward's means are of all channels": _group(
        partial(group_norm_bwd, axes=(1, 2, 3)), AXIS
    ),
    "group norm: the mean is a constant": _group(partial(group_norm_bwd, mean=False), CONSTANT),
    "group norm: the gain's from the first position": _group(
        partial(group_norm_bwd, kept=slice(1)), ("reduction",)
    ),
    "unit rows: divided by a length of zero": _unit(
        partial(unit_rows_bwd, inverse_length=lambda x: 1 / jnp.linalg.norm(x, axis=1, keepdims=True)),
        ("not finite",),
    ),
    "unit rows: the length is a constant": _unit(partial(unit_rows_bwd, project=False), CONSTANT),
    "unit rows: projected, and not divided": _unit(partial(unit_rows_bwd, divide=False), ("derivative",)),
}
