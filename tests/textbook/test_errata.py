"""Every erratum is wrong by what it says, and its right form is right."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manual_bp.textbook import index_and_vector_forms, paths
from manual_bp.textbook.columns import Layer, Network
from manual_bp.textbook.errata import FUNCTIONS, MISTAKES
from manual_bp.textbook.errata.index_and_vector_forms import ETA
from tests.textbook.networks import batch, error, network, oracle

BOUND = 1e-12
WIDTHS = (4, 6, 3, 3)  # the last layer is square, as some mistakes need
LAYERS = network(WIDTHS)
DEPTH = len(LAYERS)
X, SOFT = batch(WIDTHS, 5)
ONE_HOT = jnp.eye(3)[jnp.array([0, 2, 1, 1, 0])].T
B = 5


def slope(z):
    """s'(z), of each entry alone."""
    return jax.vmap(jax.grad(jax.nn.sigmoid))(z.ravel()).reshape(z.shape)


@functools.cache
def _right(output, cost, weighted):
    """The right deltas and gradient, for one-hot targets or others; the same for many mistakes."""
    Y = MISTAKES[weighted].targets(ONE_HOT) if weighted else ONE_HOT
    names = {"output": output, "cost": cost}
    single = jax.jit(jax.vmap(lambda x, y: oracle(LAYERS, x, y, **names), in_axes=1))(X, Y)
    return [layer.b.T for layer in single], jax.jit(lambda layers: oracle(layers, X, Y, **names))(LAYERS)


class Right:
    """The right states, deltas (n, B) and gradient for one mistake's network and targets."""

    def __init__(self, name):
        self.mistake = MISTAKES[name]
        self.names = {"output": self.mistake.output, "cost": self.mistake.cost}
        self.Y = self.mistake.targets(ONE_HOT)
        self.z, self.a = index_and_vector_forms.forward(LAYERS, X, output=self.mistake.output)
        weighted = name if bool((self.Y != ONE_HOT).any()) else None
        self.D, self.gradient = _right(self.mistake.output, self.mistake.cost, weighted)

    def last(self, **parts) -> Network:
        return (*self.gradient[:-1], self.gradient[-1]._replace(**parts))

    def through(self, D, below=None, states=None) -> Network:
        """The gradient by an output delta D and a rule for the delta of the layers below."""
        z, a = states or (self.z, self.a)
        grads = []
        for k in reversed(range(DEPTH)):
            grads.append(Layer(D @ a[k].T / B, D.sum(1) / B))
            if k:
                D = below(k, D, grads[-1]) if below else (LAYERS[k].W.T @ D) * slope(z[k - 1])
        return tuple(reversed(grads))


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


def _limited(r: Right) -> Network:
    z, a = [], [X]
    for W, b in LAYERS:
        inside = min(W.shape)
        z.append(jnp.einsum("il,lb->ib", W[:, :inside], a[-1][:inside]) + b[:, None])
        a.append(jax.nn.sigmoid(z[-1]))
    return r.through((a[-1] - r.Y) * slope(z[-1]), states=(z, a))


def _one_path(r: Right) -> Network:
    """By the list of all paths, of which those by the first neuron of every later layer are taken."""
    grads = []
    for k, (W, b) in enumerate(LAYERS, start=1):
        dW, db = np.zeros(W.shape), np.zeros(b.shape)
        for example in range(B):
            for i in range(1, len(b) + 1):
                x, y = X[:, example], r.Y[:, example]
                found = paths.paths(LAYERS, x, y, (k, i, 1), **r.names)
                (row,) = np.flatnonzero((found.routes[:, 1:-1] == 1).all(axis=1) & (
                    (found.routes[:, -1] == 1) if k < DEPTH else True
                ))  # fmt: skip
                to_neuron = float(jnp.prod(found.factors[row, :-1]))
                dW[i - 1] += to_neuron * np.asarray(r.a[k - 1][:, example]) / B
                db[i - 1] += to_neuron / B
        grads.append(Layer(jnp.asarray(dW), jnp.asarray(db)))
    return tuple(grads)


def _carried_back(k, D, r: Right):
    W, b = LAYERS[k]
    return jnp.concatenate([(W.T @ D)[1:], (b @ D)[None]]) * slope(r.z[k - 1])


def _shifted_biases() -> Network:
    return tuple(Layer(W, jnp.full_like(b, b[min(W.shape[1], len(b)) - 1])) for W, b in LAYERS)


def _with(layer: Layer, row: jax.Array) -> Layer:
    return layer._replace(W=layer.W.at[-1].set(row))


OFF: dict[str, Callable[[Right], Network]] = {
    "000 output derivative missing": lambda r: r.last(W=(r.D[-1] / slope(r.z[-1])) @ r.a[-2].T / B),
    "000 bias of the text missing": lambda r: tuple(
        Layer(W, jnp.zeros_like(b)) for W, b in oracle(network(WIDTHS, bias=False), X, r.Y, **r.names)
    ),
    "000 sum without its index": lambda r: oracle(LAYERS, X[:, -1], r.Y[:, -1], **r.names),
    "000 output read as z": lambda r: oracle(LAYERS, X, r.Y, output="identity", cost="quadratic"),
    "001 output rule elementwise": lambda r: r.through(r.D[-1] * r.Y),
    "001 bias factor omitted": lambda r: tuple(Layer(W, 0 * b) for W, b in r.gradient),
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
"""The gradient that each mistake must give, from the right one and by how much it says it is off."""


def test_every_mistake_is_here():
    assert set(OFF) == set(MISTAKES)


def _distance(actual: Network, wanted: Network) -> float:
    """Normwise, relative to the wanted leaf or, where that is zero, as it is."""
    distances = []
    for a, w in zip(jax.tree.leaves(actual), jax.tree.leaves(wanted), strict=True):
        assert a.shape == w.shape
        size = float(jnp.linalg.norm(w.ravel()))
        distances.append(float(jnp.linalg.norm((a - w).ravel())) / (size or 1))
    return max(distances)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_off_by_what_it_says(name):
    right = Right(name)
    mistake = right.mistake
    assert error(jax.jit(mistake.correct)(LAYERS, X, right.Y), right.gradient) <= BOUND
    wrong = mistake.gradient(LAYERS, X, right.Y)
    assert _distance(wrong, OFF[name](right)) <= BOUND
    differs = [
        w.shape != g.shape or _distance((w,), (g,)) > 1e-3
        for w, g in zip(jax.tree.leaves(wrong), jax.tree.leaves(right.gradient), strict=True)
    ]
    assert any(differs)
    assert all((mistake.source, mistake.printed, mistake.right, mistake.off))


def test_one_path_is_right_at_width_one():
    layers = network((1, 1, 1, 1))
    x, y = batch((1, 1, 1, 1), 5)
    assert error(MISTAKES["003 one path"].gradient(layers, x, y), oracle(layers, x, y)) <= BOUND


def test_an_early_update_is_off_in_the_first_order_of_eta(monkeypatch):
    """The error is proportional to eta, and the last layer has none."""
    right = Right("002 update before propagating")
    errors = []
    for eta in (1e-3, 1e-4):
        monkeypatch.setattr("manual_bp.textbook.errata.index_and_vector_forms.ETA", eta)
        wrong = right.mistake.gradient(LAYERS, X, right.Y)
        assert _distance(wrong[-1:], right.gradient[-1:]) <= BOUND
        errors.append(_distance(wrong[:-1], right.gradient[:-1]))
    assert errors[0] / errors[1] == pytest.approx(10, rel=0.02)


def test_shapes_that_a_mistake_needs():
    layers, (x, y) = network((4, 6, 5, 3)), batch((4, 6, 5, 3), 5)
    for name in ("003 output layer left out", "004 z of another layer"):
        with pytest.raises(ValueError, match="expected"):
            MISTAKES[name].gradient(layers, x, y)


class TestFunctions:
    def test_sigmoid(self):
        wrong, correct = FUNCTIONS["003 sigmoid code"].wrong, FUNCTIONS["003 sigmoid code"].correct
        x = jnp.array([-30.0, -1.0, 0.0, 2.0])
        assert error(wrong(x), correct(x)) <= 1e-15
        with np.errstate(over="raise"), pytest.raises(FloatingPointError):
            _ = 1 / (1 + np.exp(np.float64(1000)))  # as printed, in NumPy
        assert bool(jnp.isnan(jax.grad(wrong)(-1000.0)))
        assert float(jax.grad(correct)(-1000.0)) == 0
        assert float(correct(jnp.array(-1000.0))) == 0

    def test_softmax(self):
        wrong, correct = FUNCTIONS["003 softmax code"].wrong, FUNCTIONS["003 softmax code"].correct
        x = jnp.array([[0.0, 1.0, -2.0], [3.0, 0.5, 0.1]])
        assert error(wrong(x[0]), correct(x[0])) <= 1e-15
        assert bool(jnp.isnan(wrong(jnp.array([1000.0, 1001.0]))).all())
        assert error(correct(jnp.array([1000.0, 1001.0])), correct(jnp.array([0.0, 1.0]))) <= 1e-15
        assert float(wrong(x).sum()) == pytest.approx(1)  # together
        assert error(correct(x).sum(-1), jnp.ones(2)) <= 1e-15  # each

    def test_softmax_formula(self):
        wrong, correct = FUNCTIONS["003 softmax formula"].wrong, FUNCTIONS["003 softmax formula"].correct
        x = jnp.array([0.3, 1.0, 2.0])
        assert error(wrong(x), correct(x) * jnp.exp(x).sum() / x.sum()) <= 1e-15
        assert float(wrong(-x).sum()) < 0

    def test_log_of_a_naive_softmax(self):
        """Autodiff is NaN where the hand-written delta a - y is exact."""
        z, y = jnp.array([1000.0, 1001.0]), jnp.array([1.0, 0.0])
        wrong = FUNCTIONS["003 softmax code"].wrong
        assert bool(jnp.isnan(jax.grad(lambda z: -jnp.vdot(y, jnp.log(wrong(z))))(z)).all())
        a = FUNCTIONS["003 softmax code"].correct(z)
        delta = index_and_vector_forms.cross_entropy_softmax_delta(z, a, y)
        assert error(delta, jax.nn.softmax(jnp.array([0.0, 1.0])) - y) <= 1e-15

    def test_first_matrix(self):
        wrong, correct = FUNCTIONS["003 first matrix"].wrong, FUNCTIONS["003 first matrix"].correct
        W = jnp.arange(9.0).reshape(3, 3)
        assert bool((wrong(W)[:-1] == correct(W)[:-1]).all())
        assert bool((wrong(W)[-1] == W[:, -1]).all())
        assert error(wrong(W), correct(W)) > 0.1

    def test_cost_of_a_vector(self):
        wrong, correct = FUNCTIONS["004 cost of a vector"].wrong, FUNCTIONS["004 cost of a vector"].correct
        a, y = jnp.array([0.2, 0.9]), jnp.array([1.0, 0.0])
        assert wrong(a, y).shape == (2,)
        assert error(wrong(a, y).sum(), correct(a, y)) <= 1e-15
        with pytest.raises(TypeError, match="scalar-output"):
            jax.grad(wrong)(a, y)
