"""Errata of note 003, the sum over paths: mistaken gradients and mistaken functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manual_bp.textbook import index_and_vector_forms as notes
from manual_bp.textbook import paths as sums
from manual_bp.textbook.columns import Layer, Network
from manual_bp.textbook.errata import FUNCTIONS, paths
from tests.textbook.errata.right import (
    BOUND,
    DEPTH,
    LAYERS,
    B,
    Off,
    Right,
    X,
    off_by_what_it_says,
)
from tests.textbook.networks import batch, error, network, oracle


def _without_output_layer(r: Right) -> Network:
    def cost(hidden):
        *first, last = hidden
        a = X
        for W, b in first:
            a = jax.nn.sigmoid(W @ a + b[:, None])
        h = jax.nn.sigmoid(last[0] @ a + last[1][:, None])
        return -jnp.sum(r.Y * jax.nn.log_softmax(h, axis=0)) / B

    zeros = jax.tree.map(jnp.zeros_like, LAYERS[-1])
    return (*jax.grad(cost)(LAYERS[:-1]), zeros)


def _one_path(r: Right) -> Network:
    """By the list of all paths, of which those by the first neuron of every later layer are taken."""
    grads = []
    for k, (W, b) in enumerate(LAYERS, start=1):
        dW, db = np.zeros(W.shape), np.zeros(b.shape)
        for example in range(B):
            for i in range(1, len(b) + 1):
                x, y = X[:, example], r.Y[:, example]
                found = sums.paths(LAYERS, x, y, (k, i, 1), **r.names)
                (row,) = np.flatnonzero((found.routes[:, 1:-1] == 1).all(axis=1) & (
                    (found.routes[:, -1] == 1) if k < DEPTH else True
                ))  # fmt: skip
                to_neuron = float(jnp.prod(found.factors[row, :-1]))
                dW[i - 1] += to_neuron * np.asarray(r.a[k - 1][:, example]) / B
                db[i - 1] += to_neuron / B
        grads.append(Layer(jnp.asarray(dW), jnp.asarray(db)))
    return tuple(grads)


def _with(layer: Layer, row: jax.Array) -> Layer:
    return layer._replace(W=layer.W.at[-1].set(row))


OFF: Off = {
    "003 one path": _one_path,
    "003 last row transposed": lambda r: oracle(
        (*LAYERS[:-1], _with(LAYERS[-1], LAYERS[-1].W[:, -1])), X, r.Y, **r.names
    ),
    "003 output layer left out": _without_output_layer,
    "003 softmax denominator": lambda r: r.through(
        r.a[-1] * (jnp.exp(r.z[-1]).sum(0) / r.z[-1].sum(0))[None] - r.Y
    ),
    "003 softmax over the batch": lambda r: r.through(
        r.a[-1] * (jnp.exp(r.z[-1]).sum(0) / jnp.exp(r.z[-1]).sum())[None] - r.Y
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", paths.MISTAKES)
def test_a_mistake_is_off_by_what_it_says(name):
    off_by_what_it_says(name, OFF)


def test_one_path_is_right_at_width_one():
    layers = network((1, 1, 1, 1))
    x, y = batch((1, 1, 1, 1), 5)
    assert error(paths.MISTAKES["003 one path"].gradient(layers, x, y), oracle(layers, x, y)) <= BOUND


def test_shapes_that_a_mistake_needs():
    layers, (x, y) = network((4, 6, 5, 3)), batch((4, 6, 5, 3), 5)
    with pytest.raises(ValueError, match="expected"):
        paths.MISTAKES["003 output layer left out"].gradient(layers, x, y)


def test_sigmoid():
    wrong, correct = FUNCTIONS["003 sigmoid code"].wrong, FUNCTIONS["003 sigmoid code"].correct
    x = jnp.array([-30.0, -1.0, 0.0, 2.0])
    assert error(wrong(x), correct(x)) <= 1e-15
    with np.errstate(over="raise"), pytest.raises(FloatingPointError):
        _ = 1 / (1 + np.exp(np.float64(1000)))  # as printed, in NumPy
    assert bool(jnp.isnan(jax.grad(wrong)(-1000.0)))
    assert float(jax.grad(correct)(-1000.0)) == 0
    assert float(correct(jnp.array(-1000.0))) == 0


def test_softmax():
    wrong, correct = FUNCTIONS["003 softmax code"].wrong, FUNCTIONS["003 softmax code"].correct
    x = jnp.array([[0.0, 1.0, -2.0], [3.0, 0.5, 0.1]])
    assert error(wrong(x[0]), correct(x[0])) <= 1e-15
    assert bool(jnp.isnan(wrong(jnp.array([1000.0, 1001.0]))).all())
    assert error(correct(jnp.array([1000.0, 1001.0])), correct(jnp.array([0.0, 1.0]))) <= 1e-15
    assert float(wrong(x).sum()) == pytest.approx(1)  # together
    assert error(correct(x).sum(-1), jnp.ones(2)) <= 1e-15  # each


def test_softmax_formula():
    wrong, correct = FUNCTIONS["003 softmax formula"].wrong, FUNCTIONS["003 softmax formula"].correct
    x = jnp.array([0.3, 1.0, 2.0])
    assert error(wrong(x), correct(x) * jnp.exp(x).sum() / x.sum()) <= 1e-15
    assert float(wrong(-x).sum()) < 0


def test_log_of_a_naive_softmax():
    """Autodiff is NaN where the hand-written delta a - y is exact."""
    z, y = jnp.array([1000.0, 1001.0]), jnp.array([1.0, 0.0])
    wrong = FUNCTIONS["003 softmax code"].wrong
    assert bool(jnp.isnan(jax.grad(lambda z: -jnp.vdot(y, jnp.log(wrong(z))))(z)).all())
    a = FUNCTIONS["003 softmax code"].correct(z)
    delta = notes.cross_entropy_softmax_delta(z, a, y)
    assert error(delta, jax.nn.softmax(jnp.array([0.0, 1.0])) - y) <= 1e-15


def test_first_matrix():
    wrong, correct = FUNCTIONS["003 first matrix"].wrong, FUNCTIONS["003 first matrix"].correct
    W = jnp.arange(9.0).reshape(3, 3)
    assert bool((wrong(W)[:-1] == correct(W)[:-1]).all())
    assert bool((wrong(W)[-1] == W[:, -1]).all())
    assert error(wrong(W), correct(W)) > 0.1
