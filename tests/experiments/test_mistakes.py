"""The study of the mistakes: what it says of a gradient, against calculations of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import mistake_checks, mistakes
from jax_ref import textbook
from tests.textbook.networks import HEADS, batch, error, network

pytestmark = pytest.mark.slow  # its command line is tested by default

NAMES = HEADS["quadratic"]
EVERYWHERE = dict.fromkeys(mistake_checks.PLACES, 2)
SETTINGS = mistakes.Settings(
    only=("002 1/B twice", "weight transposed on a square layer", "002 bias by an elementwise product"),
    steps=600,
    batch_size=16,
    repeats=2,
)


@pytest.fixture(scope="module")
def figures():
    return mistakes.measure(SETTINGS)


@pytest.fixture(scope="module")
def rows(figures):
    return {row["name"]: row for row in figures["planted"]}


def accuracy_by_autodiff(setup, number, learning_rate):
    """In percent, of one network trained by `jax.grad` in float64."""

    def step(layers, indices):
        X, Y = setup.X[:, indices], setup.Y[:, indices]
        gradient = jax.grad(lambda layers: textbook.mean_cost(layers, X, Y, **NAMES))(layers)
        return jax.tree.map(lambda p, g: p - learning_rate * g, layers, gradient), None

    a, start = setup.X_test, jax.tree.map(lambda leaf: leaf[number], setup.networks)
    for W, b in jax.lax.scan(step, start, setup.batches)[0]:
        a = jax.nn.sigmoid(W @ a + b[:, None])
    return 100 * float(jnp.mean(jnp.argmax(a, axis=0) == setup.labels))


def test_accuracy_lost_is_that_of_training_by_autodiff(rows):
    """With 1/B twice, training is that with a learning rate of 1/B."""
    setup = mistakes.set_up(SETTINGS)
    rate = mistakes.LEARNING_RATES["sigmoid", "quadratic"]
    right, slow = (
        np.mean([accuracy_by_autodiff(setup, number, eta) for number in range(2)])
        for eta in (rate, rate / SETTINGS.batch_size)
    )
    assert right - slow > 10
    assert rows["002 1/B twice"]["lost"] == pytest.approx(right - slow, abs=0.5)  # two images of 360


def test_where_each_mistake_is_found(figures, rows):
    """At zeros no delta leaves the output layer: whatever is wrong with it on the way is right there."""
    (right,) = figures["rights"]
    for check in ("ours float32", "ours float64"):
        assert right["complaints"][check] == dict.fromkeys(EVERYWHERE, 0)
        assert rows["002 1/B twice"]["complaints"][check] == EVERYWHERE
    transposed = rows["weight transposed on a square layer"]
    assert transposed["leaf"] == "W2"  # W3 is square; its gradient is right
    for check in mistake_checks.CHECKS:
        assert transposed["complaints"][check]["zeros"] == 0
    assert transposed["complaints"]["ours float64"] == EVERYWHERE | {"zeros": 0}
    assert "complaints" not in rows["002 bias by an elementwise product"]
    assert mistakes.sentence(figures).startswith("2 of 3 mistakes run")


LAYERS = network((3, 4, 2))
KNOWN = mistake_checks.reference(**NAMES)


def off_at_the_bound(check):
    """The relative error of all entries at which a check has to begin to complain, by its tolerances."""
    gradient = jax.tree.leaves(KNOWN.gradient(LAYERS, *batch((3, 4, 2), 5)))
    largest = max(float(jnp.max(jnp.abs(g))) for g in gradient)
    rng = np.random.RandomState(0)
    inner = sum(np.vdot(rng.randn(*g.shape), g) for g in gradient) * rng.randn()
    tolerances = {  # absolute and relative; the first matrix has 12 entries
        "check_grads float32": (2e-3, 2e-3, inner),
        "check_grads float64": (1e-5, 1e-5, inner),
        "chex": (0.12, 2e-3, inner),
        "allclose": (1e-8, 1e-5, largest),
        "allclose loose": (1e-3, 1e-2, largest),
    }
    absolute, relative, size = tolerances[check]
    return float(relative + absolute / abs(size))


@pytest.mark.parametrize("check", mistake_checks.CHECKS)
def test_each_check_allows_what_it_is_said_to(check):
    args = (LAYERS, *batch((3, 4, 2), 5))
    dtype, complains = mistake_checks.CHECKS[check]
    where = mistake_checks.place(KNOWN, args, dtype, np.random.default_rng(0))
    ours = {"ours float32": (1e-8, 1e-5), "ours float64": (1e-14, 1e-11)}
    allowed, too_far = ours.get(check) or (factor * off_at_the_bound(check) for factor in (0.7, 1.4))
    for off, complaint in ((0.0, False), (allowed, False), (too_far, True)):

        def gradient(*args, off=off):
            return jax.tree.map(lambda leaf: (1 + off) * leaf, KNOWN.gradient(*args))

        assert complains(mistake_checks.author(KNOWN, gradient, where), where) == complaint, off


def test_the_author_has_the_gradient_that_is_planted():
    where = mistake_checks.place(KNOWN, (LAYERS, *batch((3, 4, 2), 5)), "float64", np.random.default_rng(0))
    planted = jax.tree.map(jnp.cos, LAYERS)
    f = mistake_checks.author(KNOWN, lambda *args: planted, where)
    actual = jax.grad(lambda layers: 3 * f(layers))(LAYERS)
    assert error(actual, jax.tree.map(lambda leaf: 3 * leaf, planted)) == 0
    assert f(LAYERS) == textbook.mean_cost(*where.args, **NAMES)
