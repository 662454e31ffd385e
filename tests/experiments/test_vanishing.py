"""The norms of the deltas that the study of vanishing gradients reports."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import data
from experiments.vanishing.book import against_book
from experiments.vanishing.measure import Settings, measure
from experiments.vanishing.networks import networks
from experiments.vanishing.norms import initial_norms

pytestmark = pytest.mark.slow  # its command line is tested by default

SMALL = Settings(
    depths=(2, 5), activations=("tanh",), initializations=("glorot", "unit_normal"),
    draws=7, width=6, examples=50, epochs=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def small():
    return measure(SMALL)


def cost(params, x, t):
    """The mean cross-entropy of tanh layers and a sigmoid output, from its definition."""
    *hidden, last = params.layers
    for layer in hidden:
        x = jnp.tanh(jnp.dot(x, layer.w) + layer.b[None])
    y = 1 / (1 + jnp.exp(-jnp.dot(x, last.w) - last.b[None]))
    return -(t * jnp.log(y) + (1 - t) * jnp.log(1 - y)).sum() / len(x)


gradient = jax.jit(jax.grad(cost))


def examples(number):
    train = data.rows(data.digits.load()).train
    return jnp.asarray(train.x[:number]), jnp.asarray(np.eye(10)[train.y[:number]])


def draw(settings, initialization):
    """Each network of the study: its params are the study's, all that is computed from them is not."""
    widths = [64, *[settings.width] * max(settings.depths), 10]
    stacked = networks(jax.random.key(settings.seed), settings.draws, widths, initialization)
    return [jax.tree.map(lambda leaf, n=n: leaf[n], stacked) for n in range(settings.draws)]


def bias_norms(gradient):
    return [np.linalg.norm(layer.b) for layer in gradient.layers[:-1]]


def assert_bands(bands, norms):
    for band, values in zip(bands, np.transpose(norms), strict=True):
        got = [band["low"], band["median"], band["high"]]
        np.testing.assert_allclose(got, np.quantile(values, [0.05, 0.5, 0.95]), rtol=1e-9)


def test_the_bands_are_those_of_jax_grad(small):
    x, t = examples(SMALL.examples)
    for initialization, rows in small["initial"]["tanh"].items():
        networks = draw(SMALL, initialization)
        for depth, row in zip(SMALL.depths, rows, strict=True):
            cut = [type(p)((*p.layers[:depth], p.layers[-1])) for p in networks]
            norms = np.array([bias_norms(gradient(params, x, t)) for params in cut])
            assert_bands(row["norm"], norms)
            assert_bands([row["factor"]], (norms[:, :1] / norms[:, -1:]) ** (1 / (depth - 1)))


def test_the_norms_in_training_are_those_of_gradient_descent(small):
    x, t = examples(SMALL.examples)
    norms = []
    for params in draw(SMALL, "glorot"):
        params = type(params)((*params.layers[:4], params.layers[-1]))
        norms.append([bias_norms(gradient(params, x, t))])
        for _ in range(SMALL.epochs):
            for start in (0, 20):  # batches of 20; the last ten examples are left over
                g = gradient(params, x[start : start + 20], t[start : start + 20])
                params = jax.tree.map(lambda p, g: p - 0.2 * g, params, g)
            norms[-1].append(bias_norms(gradient(params, x, t)))
    trained = small["training"]["tanh"]
    assert trained["initialization"] == "glorot"
    assert len(trained["norm"]) == SMALL.epochs + 1
    for bands, epoch in zip(trained["norm"], np.swapaxes(norms, 0, 1), strict=True):
        assert_bands(bands, epoch)


def test_small_weights_shrink_the_delta_as_a_random_matrix_does():
    """Near z = 0 a layer is f'(0) w, and a normal n x n matrix stretches by sqrt(n) (1 - 1/(4n))."""
    stacked = networks(jax.random.key(0), 100, (64, 30, 30, 30, 30, 30, 10), "near_zero")
    stretch = 0.01 * 30**0.5 * (1 - 1 / 120)
    for activation, slope in (("sigmoid", 1 / 4), ("tanh", 1)):
        norms = initial_norms(stacked, examples(50), activation=activation, cost="cross_entropy")
        factors = norms[:, :-1] / norms[:, 1:]
        np.testing.assert_allclose(np.median(factors, axis=0), slope * stretch, rtol=0.05)


@pytest.mark.parametrize("initialization", ["unit_normal", "fan_in"])
def test_normal_weights_as_numpy_draws_them(initialization):
    x, t = map(np.asarray, examples(200))
    rng = np.random.default_rng(0)
    norms = []
    for _ in range(200):
        layers, a = [], [x]
        for i, o in ((64, 30), (30, 30), (30, 10)):
            scale = 1 if initialization == "unit_normal" else i**-0.5
            layers.append((scale * rng.standard_normal((i, o)), rng.standard_normal((1, o))))
            a.append(1 / (1 + np.exp(-a[-1] @ layers[-1][0] - layers[-1][1])))
        dz = (a[3] - t) * a[3] * (1 - a[3])
        for k in (2, 1):
            dz = dz @ layers[k][0].T * a[k] * (1 - a[k])
            norms.append(np.linalg.norm(dz.mean(0)))
    second, first = np.reshape(norms, (200, 2)).T
    stacked = networks(jax.random.key(0), 200, (64, 30, 30, 10), initialization)
    ours = initial_norms(stacked, examples(200), activation="sigmoid", cost="quadratic")
    for got, expected in zip(np.transpose(ours), (first, second), strict=True):
        quantiles = [np.quantile(values, [0.05, 0.5, 0.95]) for values in (got, expected)]
        np.testing.assert_allclose(*quantiles, rtol=0.2)
        assert np.median(got) == pytest.approx(np.median(expected), rel=0.1)


@pytest.mark.slow
def test_nielsens_numbers_are_in_the_bands_of_his_program():
    readings = against_book(0, 100, data.rows(data.load("mnist", None)))
    inside = {
        (row["initialization"], row["cost"]): [b["low"] <= b["book"] <= b["high"] for b in row["norm"]]
        for row in readings
    }
    assert all(inside["fan_in", "cross_entropy"])
    assert not any(inside["unit_normal", "quadratic"][:2])  # 0.07 and 0.31 by what his text says
