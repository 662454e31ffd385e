"""Rows of the activations."""

from functools import partial

from experiments.benchmark.rows.row import Draw, Row, op_row
from jax_ref.ops import activations as reference
from manual_bp.ops import activations


def _activation(draw: Draw, name: str, pair: activations.Activation) -> Row:
    return op_row(pair, getattr(reference, name), (draw.real(4096, 1024),), draw)


ROWS = {
    f"activations.{name}": partial(_activation, name=name, pair=pair)
    for name, pair in activations.MEMBERS.items()
}
