"""Rows of matrix products."""

import jax_ref
from experiments.benchmark.rows.row import Draw, Row, op_row
from manual_bp import ops


def _dense(draw: Draw) -> Row:
    x = draw.real(256, 768)
    params = ops.dense.Params(draw.real(768, 512), draw.real(512))
    flops = 3 * 2 * x.shape[0] * params.w.size  # y, dw and dx
    return op_row(ops.dense, jax_ref.ops.dense.apply, (params, x), draw, matmul_flops=flops)


ROWS = {"dense": _dense}
