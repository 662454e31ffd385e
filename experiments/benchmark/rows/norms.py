"""Rows of the normalisations.

Beside the reference, whose variance is the mean of squared deviations, there is the form that libraries
have: E[x^2] - E[x]^2, of one pass over x, which loses digits where the mean is large.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

import jax_ref
from experiments.benchmark.rows.row import Draw, Row, op_row
from manual_bp import ops

ONE_PASS = "variance in one pass"


def _layer_norm(draw: Draw) -> Row:
    def standardize(params: Any, x: jax.Array) -> jax.Array:
        return params.g[None] * jax.nn.standardize(x, -1) + params.b[None]

    def one_pass(params: Any, x: jax.Array) -> jax.Array:
        return _scaled(params, _one_pass(x, (1,))[0])

    args = (ops.layer_norm.Params(draw.real(1024), draw.real(1024)), draw.real(1024, 1024))
    fused = {"jax.nn.standardize": standardize, ONE_PASS: one_pass}
    return op_row(ops.layer_norm, jax_ref.ops.layer_norm.apply, args, draw, fused=fused)


def _rms_norm(draw: Draw) -> Row:
    args = (ops.rms_norm.Params(draw.real(1024)), draw.real(1024, 1024))
    return op_row(ops.rms_norm, jax_ref.ops.rms_norm.apply, args, draw)


def _group_norm(draw: Draw) -> Row:
    def one_pass(params: Any, x: jax.Array, *, groups: int) -> jax.Array:
        xhat, _ = _one_pass(x.reshape(*x.shape[:-1], groups, -1), (1, 2, 4))
        return _scaled(params, xhat.reshape(x.shape))

    args = (ops.group_norm.Params(draw.real(64), draw.real(64)), draw.real(32, 28, 28, 64))
    (groups,) = draw.dims(8)
    fused = {ONE_PASS: partial(one_pass, groups=groups)}
    return op_row(ops.group_norm, jax_ref.ops.group_norm.apply, args, draw, fused=fused, groups=groups)


def _batch_norm(draw: Draw) -> Row:
    """Without cotangents of the statistics, as in training: they go to the running ones."""

    def one_pass(params: Any, x: jax.Array) -> tuple[jax.Array, Any]:
        xhat, statistics = _one_pass(x, (0, 1, 2))
        return _scaled(params, xhat), jax_ref.ops.batch_norm.Statistics(*statistics)

    args = (ops.batch_norm.Params(draw.real(64), draw.real(64)), draw.real(128, 28, 28, 64))
    row = op_row(ops.batch_norm, jax_ref.ops.batch_norm.apply, args, draw, fused={ONE_PASS: one_pass})
    _, (dy, d_statistics) = row.args
    return row._replace(args=(args, (dy, jax.tree.map(jnp.zeros_like, d_statistics))))


def _one_pass(x: jax.Array, over: tuple[int, ...]) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """The normalised x, its mean and its variance."""
    mean = jnp.mean(x, over, keepdims=True)
    var = jnp.mean(jnp.square(x), over, keepdims=True) - jnp.square(mean)
    return (x - mean) * jax.lax.rsqrt(var + 1e-5), (jnp.squeeze(mean, over), jnp.squeeze(var, over))


def _scaled(params: Any, xhat: jax.Array) -> jax.Array:
    lead = tuple(range(xhat.ndim - 1))
    return xhat * jnp.expand_dims(params.g, lead) + jnp.expand_dims(params.b, lead)


ROWS = {
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "group_norm": _group_norm,
    "batch_norm": _batch_norm,
}
