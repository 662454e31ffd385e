"""Errata of note 002, index and vector forms."""

import jax
import jax.numpy as jnp
import pytest

from manual_bp.textbook.columns import Layer, Network
from manual_bp.textbook.errata import index_and_vector_forms
from manual_bp.textbook.errata.index_and_vector_forms import ETA
from tests.textbook.errata.right import BOUND, LAYERS, B, Off, Right, X, distance, off_by_what_it_says, slope
from tests.textbook.networks import oracle


def _limited(r: Right) -> Network:
    z, a = [], [X]
    for W, b in LAYERS:
        inside = min(W.shape)
        z.append(jnp.einsum("il,lb->ib", W[:, :inside], a[-1][:inside]) + b[:, None])
        a.append(jax.nn.sigmoid(z[-1]))
    return r.through((a[-1] - r.Y) * slope(z[-1]), states=(z, a))


def _shifted_biases() -> Network:
    return tuple(Layer(W, jnp.full_like(b, b[min(W.shape[1], len(b)) - 1])) for W, b in LAYERS)


OFF: Off = {
    "002 cost factor dropped": lambda r: jax.tree.map(lambda d: B * d, r.gradient),
    "002 bias with index l": lambda r: oracle(_shifted_biases(), X, r.Y, **r.names),
    "002 limit m_l in z": _limited,
    "002 bias by an elementwise product": lambda r: tuple(Layer(W, jnp.diag(b)) for W, b in r.gradient),
    "002 index bound and free": lambda r: tuple(
        Layer(jnp.einsum("ib,mb->i", D, a)[:, None] * jnp.ones(g.W.shape) / B, g.b)
        for D, a, g in zip(r.D, r.a[:-1], r.gradient, strict=True)
    ),
    "002 limit of the delta sum": lambda r: r.through(
        r.D[-1], lambda k, D, _: len(D) * jnp.outer(LAYERS[k].W[-1], D[-1]) * slope(r.z[k - 1])
    ),
    "002 activation gradient": lambda r: tuple(
        Layer(slope(z) @ a.T / B, g.b) for z, a, g in zip(r.z, r.a[:-1], r.gradient, strict=True)
    ),
    "002 pre-activation gradient": lambda r: tuple(
        Layer(g.b[:, None] * W, g.b) for (W, _), g in zip(LAYERS, r.gradient, strict=True)
    ),
    "002 delta of the mean of squares": lambda r: jax.tree.map(lambda d: 3 / 2 * d, r.gradient),
    "002 targets that do not sum to one": lambda r: r.through(
        r.D[-1] + r.a[-1] * (1 - r.Y.sum(0, keepdims=True))
    ),
    "002 1/B twice": lambda r: jax.tree.map(lambda d: d / B, r.gradient),
    "002 update before propagating": lambda r: r.through(
        r.D[-1],
        lambda k, D, grad: (LAYERS[k].W.T @ D - ETA * (grad.W.T @ D)) * slope(r.z[k - 1]),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", index_and_vector_forms.MISTAKES)
def test_a_mistake_is_off_by_what_it_says(name):
    off_by_what_it_says(name, OFF)


def test_an_early_update_is_off_in_the_first_order_of_eta(monkeypatch):
    """The error is proportional to eta, and the last layer has none."""
    right = Right("002 update before propagating")
    errors = []
    for eta in (1e-3, 1e-4):
        monkeypatch.setattr("manual_bp.textbook.errata.index_and_vector_forms.ETA", eta)
        wrong = right.mistake.gradient(LAYERS, X, right.Y)
        assert distance(wrong[-1:], right.gradient[-1:]) <= BOUND
        errors.append(distance(wrong[:-1], right.gradient[:-1]))
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.02)
