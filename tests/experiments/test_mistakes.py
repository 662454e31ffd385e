"""The study of the mistakes: what it says of a gradient, against calculations of its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.mistakes import author, checks, measure, ours, show, training
from experiments.mistakes.places import NAMES as PLACES
from experiments.mistakes.places import Place
from jax_ref import textbook
from jax_ref.verify import oracle
from tests.textbook.networks import HEADS, batch, error, network

pytestmark = pytest.mark.slow  # its command line is tested by default

NAMES = HEADS["quadratic"]
EVERYWHERE = dict.fromkeys(PLACES, 2)
SETTINGS = measure.Settings(
    only=("002 1/B twice", "weight transposed on a square layer", "002 bias by an elementwise product"),
    steps=600,
    batch_size=16,
    repeats=2,
)


@pytest.fixture(scope="module")
def figures():
    return measure.measure(SETTINGS)


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
    setup = training.set_up(0, repeats=2, batch_size=16, steps=600)
    rate = training.LEARNING_RATES["sigmoid", "quadratic"]
    right, slow = (
        np.mean([accuracy_by_autodiff(setup, number, eta) for number in range(2)])
        for eta in (rate, rate / SETTINGS.batch_size)
    )
    assert right - slow > 10
    assert rows["002 1/B twice"]["lost"] == pytest.approx(right - slow, abs=0.5)  # two images of 360


def test_where_each_mistake_is_found(figures, rows):
    """At zeros no delta leaves the output layer: whatever is wrong with it on the way is right there.

    Ours does not stay at zeros.
    """
    (right,) = figures["rights"]
    for check in ours.DTYPES:
        assert right["complaints"][check] == dict.fromkeys(EVERYWHERE, 0)
        assert rows["002 1/B twice"]["complaints"][check] == EVERYWHERE
    assert (right["leaf"], right["kind"]) == (None, None)
    assert (rows["002 1/B twice"]["leaf"], rows["002 1/B twice"]["kind"]) == ("W3", "factor")
    transposed = rows["weight transposed on a square layer"]
    assert transposed["leaf"] == "W2"  # W3 is square; its gradient is right
    for check in checks.CHECKS:
        assert transposed["complaints"][check]["zeros"] == 0
    assert transposed["complaints"]["ours float64"] == EVERYWHERE
    assert "complaints" not in rows["002 bias by an elementwise product"]
    said = show.sentence(figures)
    assert said.startswith("2 of 3 mistakes run")
    assert "ours names 1 of the mistakes" in said


LAYERS = network((3, 4, 2))
EXAMPLES = author.Examples(*oracle.cast(batch((3, 4, 2), 5), jnp.float32))
NUMBERS = jnp.arange(5)
RIGHT = author.cost(EXAMPLES, **NAMES)


def complains(check, gradient):
    """Whether a check complains of a gradient, a function of the layers."""
    on_trial = author.author(RIGHT, lambda layers, X, Y: gradient(layers))
    if check in ours.DTYPES:
        return ours.complains(ours.report(RIGHT, on_trial, Place(LAYERS, NUMBERS)), ours.DTYPES[check])
    return bool(checks.complaints(RIGHT, on_trial, {"here": [Place(LAYERS, NUMBERS)]})[check]["here"])


def off_at_the_bound(check):
    """The relative error of all entries at which a check has to begin to complain, by its tolerances."""
    gradient = jax.tree.leaves(RIGHT.gradient(LAYERS, NUMBERS))
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


@pytest.mark.parametrize("check", [*checks.CHECKS, *ours.DTYPES])
def test_each_check_allows_what_it_is_said_to(check):
    known = {"ours float32": (1e-8, 1e-5), "ours float64": (1e-14, 1e-11)}
    allowed, too_far = known.get(check) or (factor * off_at_the_bound(check) for factor in (0.7, 1.4))
    for off, complaint in ((0.0, False), (allowed, False), (too_far, True)):

        def gradient(layers, off=off):
            return jax.tree.map(lambda leaf: (1 + off) * leaf, RIGHT.gradient(layers, NUMBERS))

        assert complains(check, gradient) == complaint, off


def test_a_backward_that_is_not_linear_is_found_in_both_dtypes():
    def bwd(residuals, d_output):
        layers, numbers = residuals
        return jax.tree.map(lambda leaf: abs(d_output) * leaf, RIGHT.gradient(layers, numbers)), None

    on_trial = author.author(RIGHT, lambda layers, X, Y: layers)._replace(bwd=bwd)
    found = ours.report(RIGHT, on_trial, Place(LAYERS, NUMBERS))
    assert all(ours.complains(found, dtype) for dtype in ours.DTYPES.values())


def test_the_author_has_the_gradient_that_is_planted():
    on_trial = author.author(RIGHT, lambda layers, X, Y: jax.tree.map(jnp.cos, layers))
    actual = jax.grad(lambda layers: 3 * on_trial.f(layers, NUMBERS))(LAYERS)
    assert error(actual, jax.tree.map(lambda leaf: 3 * jnp.cos(leaf), LAYERS)) == 0
    X, Y = oracle.cast(EXAMPLES, jnp.float64)
    assert on_trial.f(LAYERS, NUMBERS) == jax.jit(lambda layers: textbook.mean_cost(layers, X, Y, **NAMES))(
        LAYERS
    )
