"""Rows of look-ups."""

from typing import Any

import jax

import jax_ref
from experiments.benchmark.rows.row import Draw, Row, op_row
from manual_bp import ops


def _embedding(draw: Draw) -> Row:
    def indexed(params: Any, ids: jax.Array) -> jax.Array:
        return params.table[ids]

    args = (ops.embedding.Params(draw.real(8192, 512)), draw.labels(8192, 32, 256))
    return op_row(ops.embedding, jax_ref.ops.embedding.apply, args, draw, fused={"indexing": indexed})


ROWS = {"embedding": _embedding}
