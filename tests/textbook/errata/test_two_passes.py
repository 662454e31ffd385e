"""Errata of note 001, the two passes."""

import pytest

from manual_bp.textbook.columns import Layer
from manual_bp.textbook.errata import two_passes
from tests.textbook.errata.right import Off, off_by_what_it_says

OFF: Off = {
    "001 output rule elementwise": lambda r: r.through(r.D[-1] * r.Y),
    "001 bias factor omitted": lambda r: tuple(Layer(W, 0 * b) for W, b in r.gradient),
}  # fmt: skip


@pytest.mark.parametrize("name", two_passes.MISTAKES)
def test_a_mistake_is_off_by_what_it_says(name):
    off_by_what_it_says(name, OFF)
