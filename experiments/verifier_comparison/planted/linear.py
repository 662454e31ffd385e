"""Mistakes around a matrix product: dense layers, a residual block, tied weights."""

import functools

import jax.numpy as jnp

from .form import Original
from .planting import at_right, by_another_cotangent, from_right, instead, narrow, shapes, wide


def _dense_fwd(x, w):
    return (wide(x) @ wide(w)).astype(x.dtype), (x, w)


def _dense_bwd(res, dy):
    x, w = map(wide, res)
    return narrow(dy.dtype, wide(dy) @ w.T, x.T @ wide(dy))


def _bias_fwd(x, w, b):
    return (wide(x) @ wide(w) + wide(b)[None, :]).astype(x.dtype), (x, w)


def _bias_bwd(res, dy):
    return (*_dense_bwd(res, dy), wide(dy).sum(0).astype(dy.dtype))


def _affine(x, w, b):
    return x @ w + b[None, :]


def _scaled_fwd(x, w):
    return (wide(x) @ wide(w) / x.shape[1] ** 0.5).astype(x.dtype), (x, w)


def _scaled_bwd(res, dy):
    return narrow(dy.dtype, *_dense_bwd(res, wide(dy) / res[0].shape[1] ** 0.5))


def _residual_fwd(x, w, v):
    a = jnp.tanh(wide(x) @ wide(w))
    return (wide(x) + a @ wide(v)).astype(x.dtype), (x, w, v, a)


def _residual_bwd(res, dy):
    x, w, v, a = map(wide, res)
    dh = wide(dy) @ v.T * (1 - a) * (1 + a)
    return narrow(dy.dtype, wide(dy) + dh @ w.T, x.T @ dh, a.T @ wide(dy))


def _embedding_fwd(table, ids):
    a = jnp.tanh(wide(table)[ids])
    return (a @ wide(table).T).astype(table.dtype), (table, ids, a)


def _shares(res, dy):
    """The cotangents of the rows that were looked up, and of the table as the output's projection."""
    table, _, a = res
    return wide(dy) @ wide(table) * (1 - a) * (1 + a), wide(dy).T @ a


def _embedding_bwd(res, dy):
    rows, projection = _shares(res, dy)
    return projection.at[res[1]].add(rows).astype(dy.dtype), None


def _autoencoder_fwd(x, w):
    a = jnp.tanh(wide(x) @ wide(w))
    return (a @ wide(w).T).astype(x.dtype), (x, w, a)


def _autoencoder_bwd(res, dy):
    x, w, a = map(wide, res)
    dh = wide(dy) @ w * (1 - a) * (1 + a)
    return narrow(dy.dtype, dh @ w.T, x.T @ dh + wide(dy).T @ a)


def _embedding_args(rng, realistic):
    words, features, count = (100, 64, 32) if realistic else (7, 3, 5)
    ids = rng.integers(0, words, count)
    ids[-1] = ids[0]
    return rng.normal(size=(words, features)), ids


ORIGINALS = {
    "dense": Original(_dense_fwd, _dense_bwd, jnp.matmul, shapes(((5, 3), (3, 7)), ((32, 128), (128, 64)))),
    "dense, square weights": Original(
        _dense_fwd, _dense_bwd, jnp.matmul, shapes(((8, 4), (4, 4)), ((48, 64), (64, 64)))
    ),
    "dense with bias": Original(
        _bias_fwd,
        _bias_bwd,
        _affine,
        shapes(((5, 3), (3, 7), (7,)), ((32, 128), (128, 64), (64,))),
    ),
    "dense with bias, as many outputs as examples": Original(
        _bias_fwd,
        _bias_bwd,
        _affine,
        shapes(((6, 3), (3, 6), (6,)), ((64, 128), (128, 64), (64,))),
    ),
    "dense over the root of the width": Original(
        _scaled_fwd,
        _scaled_bwd,
        lambda x, w: x @ w / x.shape[1] ** 0.5,
        shapes(((5, 3), (3, 7)), ((32, 128), (128, 64))),
    ),
    "residual block": Original(
        _residual_fwd,
        _residual_bwd,
        lambda x, w, v: x + jnp.tanh(x @ w) @ v,
        shapes(((5, 3), (3, 7), (7, 3)), ((32, 64), (64, 128), (128, 64))),
    ),
    "embedding tied to the projection": Original(
        _embedding_fwd, _embedding_bwd, lambda table, ids: jnp.tanh(table[ids]) @ table.T, _embedding_args
    ),
    "tied autoencoder": Original(
        _autoencoder_fwd,
        _autoencoder_bwd,
        lambda x, w: jnp.tanh(x @ w) @ w.T,
        shapes(((5, 3), (3, 7)), ((32, 128), (128, 64))),
    ),
}

_instead = functools.partial(instead, ORIGINALS)
_from = functools.partial(from_right, ORIGINALS)
_at = functools.partial(at_right, ORIGINALS)
_by = functools.partial(by_another_cotangent, ORIGINALS)


def _tail_dropped(x):
    """Zero in the rows after the last whole block of four."""
    return x.at[x.shape[0] // 4 * 4 :].set(0)


def _derivative_of_tanh_at_its_input(res, dy):
    x, w, v, a = map(wide, res)
    dh = wide(dy) @ v.T * (1 - (x @ w) ** 2)
    return narrow(dy.dtype, wide(dy) + dh @ w.T, x.T @ dh, a.T @ wide(dy))


def _derivative_of_tanh_forgotten(res, dy, dw):
    x, _, v, _ = map(wide, res)
    return (x.T @ (wide(dy) @ v.T)).astype(dw.dtype)


def _updated_before_propagating(res, dy):
    x, w, v, a = res
    _, dw, dv = _residual_bwd(res, dy)
    return _residual_bwd((x, w, v - 1e-2 * dv, a), dy)[0], dw, dv


def _repeated_ids_overwrite(res, dy, d_table):
    rows, projection = _shares(res, dy)
    return (projection + jnp.zeros_like(projection).at[res[1]].set(rows)).astype(dy.dtype)


_SQUARE = "dense, square weights"
_BIAS = "dense with bias"
_EQUAL = "dense with bias, as many outputs as examples"
_ROOT = "dense over the root of the width"
_BLOCK = "residual block"
_TABLE = "embedding tied to the projection"
_ENTRY = ("conditional",)
_SHARE = ("path",)

MISTAKES = {
    "weight a percent too large": _at(1, "dense", lambda c: 1.01 * c, "factor"),
    "weight a thousandth too small": _at(1, "dense", lambda c: 0.999 * c, "factor"),
    "input a ten-thousandth too large": _at(0, "dense", lambda c: 1.0001 * c, "factor"),
    "weight off by 1e-5 of itself": _at(1, "dense", lambda c: (1 + 1e-5) * c, "factor"),
    "weight off by 1e-6 of itself": _at(1, "dense", lambda c: (1 + 1e-6) * c, "factor"),
    "weight off by 1e-3 at one element": _at(1, "dense", lambda c: c.at[1, 2].multiply(1.001), *_ENTRY),
    "weight's first element left out": _at(1, "dense", lambda c: c.at[0, 0].set(0), *_ENTRY),
    "input negated": _at(0, "dense", jnp.negative, "sign"),
    "input over the number of examples": _at(0, "dense", lambda c: c / c.shape[0], "factor"),
    "weight averaged over examples": _from(1, "dense", lambda r, d, c: c / d.shape[0], "reduction", "factor"),
    "weight decay in the gradient": _from(1, "dense", lambda r, d, c: c + 0.01 * r[1], "added term"),
    "weak weight decay in the gradient": _from(1, "dense", lambda r, d, c: c + 1e-4 * r[1], "added term"),
    "input through float16": _at(
        0, "dense", lambda c: c.astype(jnp.float16).astype(c.dtype), "precision", none_in=("float16",)
    ),
    "input saved in bfloat16": _instead(
        "dense",
        lambda r, d: _dense_bwd((r[0].astype(jnp.bfloat16).astype(d.dtype), r[1]), d),
        "precision",
        none_in=("bfloat16",),
    ),
    "weight's cotangent left in bfloat16": _at(
        1, "dense", lambda c: c.astype(jnp.bfloat16), "structure", none_in=("bfloat16",)
    ),
    "weight without the output's cotangent": _from(
        1, "dense", lambda r, d, c: _dense_bwd(r, jnp.ones_like(d))[1], "cotangent ignored"
    ),
    "magnitude of the output's cotangent": _by("dense", jnp.abs, "not linear"),
    "output's cotangent clipped": _by("dense", lambda d: jnp.clip(d, -1, 1), "not linear"),
    "small cotangents flushed": _by("dense", lambda d: jnp.where(jnp.abs(d) < 0.1, 0, d), "not linear"),
    "output's cotangent normalised": _by("dense", lambda d: d / jnp.linalg.norm(d), "not linear"),
    "last example left out of the weight": _from(
        1, "dense", lambda r, d, c: _dense_bwd(r, d.at[-1].set(0))[1], "reduction", "conditional"
    ),
    "ragged tail left out of the input": _at(0, _SQUARE, _tail_dropped, "batch", "conditional"),
    "ragged tail left out of the weight": _from(
        1, _BIAS, lambda r, d, c: _dense_bwd(r, _tail_dropped(d))[1], "batch", "reduction"
    ),
    "weight transposed": _at(1, _SQUARE, jnp.transpose, "transposed"),
    "input by the weight not transposed": _from(
        0, _SQUARE, lambda r, d, c: _dense_bwd((r[0], r[1].T), d)[0], "input"
    ),
    "bias not summed": _from(2, _BIAS, lambda r, d, c: d, "structure", "reduction"),
    "bias with an axis of length one": _at(2, _BIAS, lambda c: c[None], "structure"),
    "no cotangent for the bias": _at(2, _BIAS, lambda c: None, "structure"),
    "one cotangent too few": _instead(_BIAS, _dense_bwd, "structure"),
    "bias averaged": _from(2, _BIAS, lambda r, d, c: c / d.shape[0], "reduction", "factor"),
    "bias of the first example": _from(2, _BIAS, lambda r, d, c: d[0], "reduction", "conditional"),
    "bias zero for a batch of one": _from(2, _BIAS, lambda r, d, c: c * min(1, d.shape[0] - 1), "batch"),
    "bias summed over outputs": _from(2, _EQUAL, lambda r, d, c: d.sum(1), "reduction"),
    "root of the width forgotten": _from(0, _ROOT, lambda r, d, c: _dense_bwd(r, d)[0], "factor"),
    "width for its root": _from(1, _ROOT, lambda r, d, c: c / r[0].shape[1] ** 0.5, "factor"),
    "root forgotten for a batch of one": _instead(
        _ROOT, lambda r, d: (_dense_bwd if d.shape[0] == 1 else _scaled_bwd)(r, d), "batch"
    ),
    "skip path forgotten": _from(0, _BLOCK, lambda r, d, c: c - d, "added term"),
    "skip path twice": _from(0, _BLOCK, lambda r, d, c: c + d, "added term"),
    "branch forgotten": _from(0, _BLOCK, lambda r, d, c: d, "path"),
    "derivative of tanh at its input": _instead(_BLOCK, _derivative_of_tanh_at_its_input, "derivative"),
    "derivative of tanh forgotten": _from(1, _BLOCK, _derivative_of_tanh_forgotten, "derivative"),
    "updated before propagating": _instead(_BLOCK, _updated_before_propagating, "not linear"),
    "lookup forgotten": _from(0, _TABLE, lambda r, d, c: _shares(r, d)[1].astype(d.dtype), *_SHARE),
    "projection forgotten": _from(0, _TABLE, lambda r, d, c: c - _shares(r, d)[1].astype(d.dtype), *_SHARE),
    "repeated ids overwrite": _from(0, _TABLE, _repeated_ids_overwrite, "conditional"),
    "cotangent for the ids": _from(1, _TABLE, lambda r, d, c: jnp.zeros(r[1].shape, d.dtype), "structure"),
    "shares of tied weights averaged": _at(1, "tied autoencoder", lambda c: c / 2, "factor"),
    "decoder's share forgotten": _from(
        1, "tied autoencoder", lambda r, d, c: c - (wide(d).T @ r[2]).astype(d.dtype), *_SHARE
    ),
}
