"""Errata of note 004, the four equations: mistaken gradients, and a cost that is a vector."""

import jax
import jax.numpy as jnp
import pytest

from manual_bp.textbook.errata import FUNCTIONS, four_equations
from tests.textbook.errata.right import LAYERS, B, Off, off_by_what_it_says, slope
from tests.textbook.networks import batch, error, network

OFF: Off = {
    "004 z of another layer": lambda r: r.through(r.D[-1] * slope(r.z[-2]) / slope(r.z[-1])),
    "004 equation 1 with softmax": lambda r: r.through(
        r.D[-1] + r.a[-1] * ((1 - jnp.eye(3)) @ (r.a[-1] * (r.a[-1] - r.Y)))
    ),
    "004 index of a": lambda r: r.last(
        W=jnp.diag(r.gradient[-1].W)[:, None] * jnp.ones((3, 3))
    ),
    "004 sum from 2": lambda r: r.through(
        r.D[-1],
        lambda k, D, _: (LAYERS[k].W.T @ D - jnp.outer(LAYERS[k].W[0], D[0])) * slope(r.z[k - 1]),
    ),
    "004 derivative equated with E": lambda r: r.last(
        W=jnp.full((3, 3), jnp.sum((r.a[-1] - r.Y) ** 2) / 2 / B)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", four_equations.MISTAKES)
def test_a_mistake_is_off_by_what_it_says(name):
    off_by_what_it_says(name, OFF)


def test_shapes_that_a_mistake_needs():
    layers, (x, y) = network((4, 6, 5, 3)), batch((4, 6, 5, 3), 5)
    with pytest.raises(ValueError, match="expected"):
        four_equations.MISTAKES["004 z of another layer"].gradient(layers, x, y)


def test_cost_of_a_vector():
    wrong, correct = FUNCTIONS["004 cost of a vector"].wrong, FUNCTIONS["004 cost of a vector"].correct
    a, y = jnp.array([0.2, 0.9]), jnp.array([1.0, 0.0])
    assert wrong(a, y).shape == (2,)
    assert error(wrong(a, y).sum(), correct(a, y)) <= 1e-15
    with pytest.raises(TypeError, match="scalar-output"):
        jax.grad(wrong)(a, y)
