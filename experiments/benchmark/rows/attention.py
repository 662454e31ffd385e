"""Rows of attention, and of the output layer with its loss."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jax_ref
from experiments.benchmark.rows.row import Draw, Function, Row, op_row
from manual_bp import ops


def _attention(draw: Draw, queries: int, window: int | None = None) -> Row:
    def fused(q: jax.Array, k: jax.Array, v: jax.Array, *, causal: bool, window: int | None) -> jax.Array:
        local = None if window is None else (window - 1, 0)
        return jax.nn.dot_product_attention(q, k, v, is_causal=causal, local_window_size=local)

    args = tuple(draw.real(1, queries, 8, 64) for _ in range(3))
    (window,) = (None,) if window is None else draw.dims(window)
    static: dict[str, Any] = {"causal": True, "window": window}
    library = {"jax.nn.dot_product_attention": partial(fused, **static)}
    return op_row(ops.attention, jax_ref.ops.attention.apply, args, draw, fused=library, **static)


def _linear_cross_entropy(draw: Draw) -> Row:
    """The mean over all tokens, as in training: each has the same cotangent, made in the program."""
    params = ops.linear_cross_entropy.Params(draw.real(512, 32768), None)
    x, labels = draw.real(2048, 512), draw.labels(32768, 2048)

    def by_optax(params: Any, x: jax.Array, labels: jax.Array) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(x @ params.w, labels)

    args = (params._replace(w=params.w / np.float32(np.sqrt(params.w.shape[0]))), x, labels)
    fused = {"optax.softmax_cross_entropy_with_integer_labels": by_optax}
    row = op_row(ops.linear_cross_entropy, jax_ref.ops.linear_cross_entropy.apply, args, draw, fused=fused)
    tokens = len(labels)

    def of_mean(function: Function) -> Function:
        return lambda args, dmean: function(args, jnp.broadcast_to(dmean, tokens))

    return row._replace(
        args=(args, jnp.float32(1 / tokens)),
        by_hand=of_mean(row.by_hand),
        opponents={name: of_mean(function) for name, function in row.opponents.items()},
    )


ROWS = {
    "attention": partial(_attention, queries=2048),
    "attention.window": partial(_attention, queries=4096, window=512),
    "linear_cross_entropy": _linear_cross_entropy,
}
