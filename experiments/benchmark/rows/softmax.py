"""Rows of softmax and its logarithm."""

from functools import partial

import jax_ref
from experiments.benchmark.rows.row import Draw, Row, op_row
from manual_bp import ops


def _softmax(draw: Draw, name: str, *, masked: bool) -> Row:
    x, mask = draw.real(1024, 1024), None
    if masked:
        mask = draw.uniform(1024, 1024) < 0.5
        mask = mask.at[:, 0].set(True)  # PyTorch has no answer for a row that allows nothing
    return op_row(getattr(ops, name), getattr(jax_ref.ops, name).apply, (x, mask), draw)


ROWS = {
    "softmax": partial(_softmax, name="softmax", masked=False),
    "softmax.masked": partial(_softmax, name="softmax", masked=True),
    "log_softmax": partial(_softmax, name="log_softmax", masked=False),
    "log_softmax.masked": partial(_softmax, name="log_softmax", masked=True),
}
