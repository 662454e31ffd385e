"""Rows of the ops that slide over spatial axes."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import jax_ref
from experiments.benchmark.rows.row import Draw, Row, op_row
from manual_bp import ops
from manual_bp.ops import pool


def _conv(draw: Draw) -> Row:
    w = 0.1 * draw.rng.standard_normal((3, 3, *draw.dims(32, 64)), np.float32)
    params = ops.conv.Params(jnp.asarray(w), draw.real(64))
    x = draw.real(32, 28, 28, 32)
    return op_row(ops.conv, jax_ref.ops.conv.apply, (params, x), draw)


def _pool(
    draw: Draw, pair: pool.Pool, reference: Callable[..., jax.Array], of_tiles: Callable[..., jax.Array]
) -> Row:
    def reshaped(x: jax.Array, *, window: int) -> jax.Array:
        b, h, w, c = x.shape
        whole = x[:, : h // window * window, : w // window * window]
        return of_tiles(whole.reshape(b, h // window, window, w // window, window, c), (2, 4))

    x = draw.real(128, 28, 28, 64)
    fused = {"reshape, then reduce": partial(reshaped, window=2)}
    return op_row(pair, reference, (x,), draw, fused=fused, window=2)


ROWS = {
    "conv": _conv,
    "pool.max": partial(_pool, pair=pool.max, reference=jax_ref.ops.pool.max, of_tiles=jnp.max),
    "pool.average": partial(_pool, pair=pool.average, reference=jax_ref.ops.pool.average, of_tiles=jnp.mean),
}
