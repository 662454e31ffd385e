"""Rows of the recurrent ops.

The reference multiplies input and state in each step of a scan. A JAX user who knows better takes the product
of all inputs out of it; the gradient of that scan adds up the weights' cotangents step by step all the same.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jax_ref
from experiments.benchmark.rows.row import Draw, Row, op_row
from manual_bp import ops

HOISTED = "input product hoisted"


def _lstm(draw: Draw) -> Row:
    def cell(params: Any, state: Any, a: jax.Array) -> tuple[Any, jax.Array]:
        i, f, g, o = jnp.split(a + state.h @ params.w_h, 4, axis=-1)
        c = jax.nn.sigmoid(f) * state.c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return type(state)(h, c), h

    def hoisted(params: Any, x: jax.Array, state: Any) -> tuple[jax.Array, Any]:
        return _over_time(lambda s, a: cell(params, s, a), params.w_x, params.b, x, state)

    (w_x, w_h, b, _), x, h, c = _drawn(draw, gates=4)
    args = (ops.lstm.Params(w_x, w_h, b), x, ops.lstm.State(h, c))
    return op_row(ops.lstm, jax_ref.ops.lstm.apply, args, draw, fused={HOISTED: hoisted})


def _gru(draw: Draw) -> Row:
    def cell(params: Any, h: jax.Array, a: jax.Array) -> tuple[jax.Array, jax.Array]:
        a_r, a_z, a_n = jnp.split(a, 3, axis=-1)
        u_r, u_z, u_n = jnp.split(h @ params.w_h + params.b_h[None], 3, axis=-1)
        r, z = jax.nn.sigmoid(a_r + u_r), jax.nn.sigmoid(a_z + u_z)
        h = (1 - z) * jnp.tanh(a_n + r * u_n) + z * h
        return h, h

    def hoisted(params: Any, x: jax.Array, state: jax.Array) -> tuple[jax.Array, jax.Array]:
        return _over_time(lambda h, a: cell(params, h, a), params.w_x, params.b_x, x, state)

    weights, x, h, _ = _drawn(draw, gates=3)
    args = (ops.gru.Params(*weights), x, h)
    return op_row(ops.gru, jax_ref.ops.gru.apply, args, draw, fused={HOISTED: hoisted})


def _rnn(draw: Draw) -> Row:
    def hoisted(params: Any, x: jax.Array, state: jax.Array) -> tuple[jax.Array, jax.Array]:
        def cell(h: jax.Array, a: jax.Array) -> tuple[jax.Array, jax.Array]:
            h = jnp.tanh(a + h @ params.w_h)
            return h, h

        return _over_time(cell, params.w_x, params.b, x, state)

    (w_x, w_h, b, _), x, h, _ = _drawn(draw, gates=1)
    args = (ops.rnn.Params(w_x, w_h, b), x, h)
    return op_row(ops.rnn, jax_ref.ops.rnn.apply, args, draw, fused={HOISTED: hoisted})


def _drawn(draw: Draw, gates: int) -> tuple[tuple[jax.Array, ...], jax.Array, jax.Array, jax.Array]:
    """Weights of the input and of the state and their biases; an input and two states; T256 B32 I512 H512."""
    (features,) = draw.dims(512)
    width = gates * features
    weights = tuple(
        jnp.asarray(draw.rng.standard_normal(shape, np.float32)) / features**0.5
        for shape in ((features, width), (features, width), (width,), (width,))
    )
    return weights, draw.real(32, 256, 512), draw.real(32, 512), draw.real(32, 512)


def _over_time(
    cell: Callable[[Any, jax.Array], tuple[Any, jax.Array]],
    w_x: jax.Array,
    b: jax.Array,
    x: jax.Array,
    state: Any,
) -> tuple[jax.Array, Any]:
    state, ys = jax.lax.scan(cell, state, jnp.swapaxes(x, 0, 1) @ w_x + b[None, None])
    return jnp.swapaxes(ys, 0, 1), state


ROWS = {"rnn": _rnn, "lstm": _lstm, "gru": _gru}
