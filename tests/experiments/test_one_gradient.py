"""The differences, multiplications, paths and growth that the study of one gradient reports."""

import functools

import jax
import numpy as np
import pytest

import jax_ref.textbook
from experiments.common import timing
from experiments.common.errors import UserError
from experiments.one_gradient import growth, measure, ways
from manual_bp.textbook import index_and_vector_forms, paths
from tests.textbook.networks import HEADS, batch, error, network, oracle

pytestmark = pytest.mark.slow

SETTINGS = measure.Settings(
    hidden=(2,),
    examples=2,
    path_widths=(2, 3, 4),
    index_widths=(2, 3),
    vector_widths=(2, 3),
    depths=(1, 3),
    rounds=1,
)
WIDTHS = (4, 3, 5, 2)


@pytest.fixture(scope="module")
def figures():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "BLOCK", 0)  # the seconds need not be exact
        return measure.measure(SETTINGS)


def test_one_gradient(figures):
    """Analytic ways and the complex step agree to rounding, central differences as well as they can."""
    gaps = np.array([list(row.values()) for row in figures["differences"].values()])
    assert gaps.shape == (12, 12)
    np.testing.assert_array_equal(gaps, gaps.T)
    assert np.all(np.diag(gaps) == 0)
    assert np.max(gaps[:-1, :-1]) <= 1e-14
    assert np.all((gaps[-1, :-1] > 1e-12) & (gaps[-1, :-1] < 1e-6))
    largest = figures["largest"]
    assert largest["analytic"] == np.max(gaps[:10, :10])
    assert largest["complex_step"] == np.max(gaps[10, :10])
    assert largest["central_differences"] == np.max(gaps[11, :10])


@pytest.mark.parametrize("head", HEADS)
def test_ways_with_biases(head):
    """The cost of the numerical ways is the reference's, also where the biases are not zero."""
    layers, (X, Y) = network(WIDTHS), batch(WIDTHS, 3)
    ours, theirs = ways.mean_cost, jax_ref.textbook.mean_cost
    cost = jax.jit(lambda layers: ours(layers, X, Y, head=head))(layers)
    wanted_cost = jax.jit(lambda layers: theirs(layers, X, Y, **HEADS[head]))(layers)
    assert cost == pytest.approx(float(wanted_cost), rel=1e-14)
    wanted = jax.jit(lambda layers: oracle(layers, X, Y, **HEADS[head]))(layers)
    found = ways.ways(WIDTHS, head)
    for key in ("mlp", "cplx"):
        assert error(jax.jit(found[key].gradient)(layers, X, Y), wanted) <= 1e-14, key
    wrong = [(W, b) if k != 1 else (W, b * (1 + 1e-6)) for k, (W, b) in enumerate(wanted)]
    assert ways.difference(wanted, wrong) == pytest.approx(1e-6, rel=1e-5)


def test_multiplications_are_those_of_the_programs(figures):
    layers, (X, Y) = network(WIDTHS), batch(WIDTHS, 1)
    x, y = X[:, 0], Y[:, 0]
    form = index_and_vector_forms.index_form
    program = jax.make_jaxpr(lambda layers: form(layers, x, y, **HEADS["quadratic"]))(layers)
    scalar = jax.typeof(x[0])
    products = [e for e in program.eqns if e.primitive.name == "mul" and e.outvars[0].aval == scalar]
    hidden = sum(WIDTHS[1:-1])  # each has s(z) s(-z), and its product with the sum of the deltas
    assert len(products) - 2 * hidden == ways.multiplications(WIDTHS)

    products, number = sum(W.size for W, _ in layers), 0
    for k, (W, _) in enumerate(layers, start=1):
        into = functools.partial(paths.paths, weight=(k, 1, 1), **HEADS["cross_entropy"])
        count, length = jax.eval_shape(into, layers, x, y).factors.shape
        products += (
            W.shape[0] * count * (length - 2 + W.shape[1])
        )  # all but the last factor serve all weights
        number += W.size * count
    assert ways.path_multiplications(WIDTHS, output="softmax") == products
    assert ways.number_of_paths(WIDTHS, output="softmax") == number

    costs = figures["cost"]
    assert costs["002v"]["multiplications"] == 2 * (3 * (64 * 2 + 2 * 10) - 64 * 2)
    assert costs["cent"]["multiplications"] == 2 * 2 * (65 * 2 + 3 * 10) * (64 * 2 + 2 * 10)
    assert not costs["002i"]["jitted"]


def test_growth(figures):
    widths, seconds = [1, 3, 8, 16, 32], [9, 9, *(2.0 * np.array([8, 16, 32]) ** 2.5)]
    assert growth.fitted(np.log(widths).tolist(), seconds) == pytest.approx(2.5)
    by_width, by_depth = figures["by_width"], figures["by_depth"]
    assert [row["paths_of_a_weight"] for row in by_width["rows"]] == [8, 27, 64]
    assert [row["paths_of_a_weight"] for row in by_depth["rows"]] == [4, 64]
    assert [set(row["seconds"]) for row in by_width["rows"]] == [{"path", "index", "vector"}] * 2 + [{"path"}]
    first, last = (row["seconds"]["path"] for row in by_depth["rows"])
    assert by_depth["growth"]["path"] == pytest.approx((last / first) ** (1 / 2))
    first, last = (row["seconds"]["path"] for row in by_width["rows"][-2:])
    assert by_width["growth"]["path"] == pytest.approx(np.log(last / first) / np.log(4 / 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "quadratik"}, "--head was 'quadratik'; did you mean 'quadratic'"),
        ({"hidden": ()}, "--hidden"),
        ({"hidden": (70, 70, 70)}, r"--hidden has 490,000 paths"),
        ({"path_widths": (80, 90)}, r"--path-widths has 729,000 paths for one weight; expected 300,000"),
        ({"depths": (1, 12)}, "--depths has"),
        (
            {"depths": (3, 3)},
            r"--depths was \(3, 3\); expected two positive numbers or more, in rising order",
        ),
        ({"examples": 0}, "--examples was 0"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(UserError, match=message):
        measure.measure(measure.Settings(**options))
