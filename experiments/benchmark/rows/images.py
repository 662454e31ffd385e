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


def _depthwise(draw: Draw) -> Row:
    """Opponents are the op that JAX has, and the sum of shifted products that is written in its place."""
    (c,) = draw.dims(64)
    w = 0.1 * draw.rng.standard_normal((3, 3, 1, c), np.float32)
    params = ops.conv.Params(jnp.asarray(w), draw.real(64))

    def shifted(params: ops.conv.Params, x: jax.Array) -> jax.Array:
        _, h, w, _ = x.shape
        padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        return sum(
            (
                padded[:, i : i + h, j : j + w] * params.w[i, j][None, None]
                for i in range(3)
                for j in range(3)
            ),
            start=jnp.broadcast_to(jnp.asarray(params.b), x.shape),
        )

    x = draw.real(32, 28, 28, 64)
    fused = {"sum of shifted products": shifted}
    return op_row(ops.conv, jax_ref.ops.conv.apply, (params, x), draw, fused=fused, groups=c)


def _grouped(draw: Draw) -> Row:
    """Opponents are the op that JAX has, and a convolution of one group with zeros between the groups."""
    (j,), groups = draw.dims(8), 8
    w = jnp.asarray(0.1 * draw.rng.standard_normal((3, 3, j, groups * j), np.float32))
    params = ops.conv.Params(w, jnp.asarray(draw.rng.standard_normal(groups * j, np.float32)))

    def with_zeros(params: ops.conv.Params, x: jax.Array) -> jax.Array:
        split = params.w.reshape(3, 3, 1, j, groups, j)
        diagonal = split * jnp.eye(groups, dtype=split.dtype).reshape(1, 1, groups, 1, groups, 1)
        whole = params._replace(w=diagonal.reshape(3, 3, groups * j, groups * j))
        return jax_ref.ops.conv.apply(whole, x)

    shape = (*draw.dims(32, 28, 28), groups * j)
    x = jnp.asarray(draw.rng.standard_normal(shape, np.float32))
    fused = {"zeros between groups": with_zeros}
    return op_row(ops.conv, jax_ref.ops.conv.apply, (params, x), draw, fused=fused, groups=groups)


def _pool(
    draw: Draw, pair: pool.Pool, reference: Callable[..., jax.Array], of_tiles: Callable[..., jax.Array]
) -> Row:
    def reshaped(x: jax.Array, *, window: int) -> jax.Array:
        b, h, w, c = x.shape
        whole = x[:, : h // window * window, : w // window * window]
        return of_tiles(whole.reshape(b, h // window, window, w // window, window, c), (2, 4))

    x = draw.distinct(128, 28, 28, 64)
    fused = {"reshape, then reduce": partial(reshaped, window=2)}
    return op_row(pair, reference, (x,), draw, fused=fused, window=2)


ROWS = {
    "conv": _conv,
    "conv.depthwise": _depthwise,
    "conv.grouped": _grouped,
    "pool.max": partial(_pool, pair=pool.max, reference=jax_ref.ops.pool.max, of_tiles=jnp.max),
    "pool.average": partial(_pool, pair=pool.average, reference=jax_ref.ops.pool.average, of_tiles=jnp.mean),
}
