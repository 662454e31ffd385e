"""Errata of note 000, the matrix form."""

import jax.numpy as jnp
import pytest

from manual_bp.textbook.columns import Layer
from manual_bp.textbook.errata import matrix_form
from tests.textbook.errata.right import LAYERS, WIDTHS, B, Off, X, off_by_what_it_says, slope
from tests.textbook.networks import network, oracle

OFF: Off = {
    "000 output derivative missing": lambda r: r.last(W=(r.D[-1] / slope(r.z[-1])) @ r.a[-2].T / B),
    "000 bias of the text missing": lambda r: tuple(
        Layer(W, jnp.zeros_like(b)) for W, b in oracle(network(WIDTHS, bias=False), X, r.Y, **r.names)
    ),
    "000 sum without its index": lambda r: oracle(LAYERS, X[:, -1], r.Y[:, -1], **r.names),
    "000 output read as z": lambda r: oracle(LAYERS, X, r.Y, output="identity", cost="quadratic"),
}  # fmt: skip


@pytest.mark.parametrize("name", matrix_form.MISTAKES)
def test_a_mistake_is_off_by_what_it_says(name):
    off_by_what_it_says(name, OFF)
