"""Classical mistakes of backpropagation, which are in no note."""

import jax
import jax.numpy as jnp
import pytest

from manual_bp.textbook.columns import Layer
from manual_bp.textbook.errata import classical
from tests.textbook.errata.right import DEPTH, LAYERS, B, Off, Right, X, off_by_what_it_says, slope
from tests.textbook.networks import oracle


def _carried_back(k, D, r: Right):
    W, b = LAYERS[k]
    return jnp.concatenate([(W.T @ D)[1:], (b @ D)[None]]) * slope(r.z[k - 1])


OFF: Off = {
    "augmented column carried back": lambda r: r.through(r.D[-1], lambda k, D, _: _carried_back(k, D, r)),
    "s' missing with squared error": lambda r: r.through(r.D[-1] / slope(r.z[-1])),
    "s' kept with cross-entropy": lambda r: r.through(r.D[-1] * slope(r.z[-1])),
    "weight transposed on a square layer": lambda r: r.through(
        r.D[-1],
        lambda k, D, _: ((LAYERS[k].W if k == DEPTH - 1 else LAYERS[k].W.T) @ D) * slope(r.z[k - 1]),
    ),
    "bias gradient not summed": lambda r: tuple(
        Layer(g.W, D[:, -1] / B) for g, D in zip(r.gradient, r.D, strict=True)
    ),
    "last example dropped": lambda r: jax.tree.map(
        lambda whole, last: whole - last / B, r.gradient, oracle(LAYERS, X[:, -1], r.Y[:, -1], **r.names)
    ),
    "activation in s'": lambda r: r.through(
        r.D[-1], lambda k, D, _: (LAYERS[k].W.T @ D) * slope(r.a[k])
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", classical.MISTAKES)
def test_a_mistake_is_off_by_what_it_says(name):
    off_by_what_it_says(name, OFF)
