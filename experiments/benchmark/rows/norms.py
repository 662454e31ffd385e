"""Rows of the normalisations."""

from typing import Any

import jax

import jax_ref
from experiments.benchmark.rows.row import Draw, Row, op_row
from manual_bp import ops


def _layer_norm(draw: Draw) -> Row:
    def standardize(params: Any, x: jax.Array) -> jax.Array:
        return params.g[None] * jax.nn.standardize(x, -1) + params.b[None]

    args = (ops.layer_norm.Params(draw.real(1024), draw.real(1024)), draw.real(1024, 1024))
    reference = jax_ref.ops.layer_norm.apply
    return op_row(ops.layer_norm, reference, args, draw, fused={"jax.nn.standardize": standardize})


ROWS = {"layer_norm": _layer_norm}
