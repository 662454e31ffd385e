"""Note 003, the sum over paths: how many there are, and their factors."""

import jax
import jax.numpy as jnp
import optax
import pytest

import jax_ref.textbook
from manual_bp.models import mlp
from manual_bp.textbook import columns, paths
from tests.textbook.networks import BOUND, HEADS, LAYERS, WIDTHS, error, oracle, x, y


@pytest.mark.parametrize("head", HEADS)
def test_the_way_forward(head):
    output = HEADS[head]["output"]
    a, h, yhat = paths.forward(LAYERS, x, output=output)
    assert error(yhat, jax_ref.textbook.apply(LAYERS, x, output=output)) <= BOUND
    assert error(a[-1], jax_ref.textbook.last_input(LAYERS, x)) <= BOUND
    assert error(h[0], x) == 0
    assert [len(a_l) for a_l in a] == list(WIDTHS[1:])
    assert [len(h_l) for h_l in h] == list(WIDTHS[:-1])
    assert error(h[1:], tuple(jax.nn.sigmoid(a_l) for a_l in a[:-1])) <= BOUND
    rows, _ = mlp.fwd(columns.to_mlp(LAYERS), x[None], activation="sigmoid")
    assert error(a[-1], rows[0]) <= BOUND


def test_the_update_rule():
    gradient = oracle(LAYERS, x, y)
    sgd = optax.sgd(0.3)
    step, _ = sgd.update(gradient, sgd.init(LAYERS))
    assert error(paths.update(LAYERS, gradient, 0.3), optax.apply_updates(LAYERS, step)) <= BOUND


@pytest.mark.parametrize(("head", "number"), [("quadratic", 10), ("cross_entropy", 20)])
def test_sum_over_paths(head, number):
    names = HEADS[head]
    found = paths.paths(LAYERS, x, y, (1, 2, 3), **names)
    assert found.factors.shape == (number, 7)  # seven factors, as printed
    assert paths.count(WIDTHS, 1, output=names["output"]) == number
    assert len({tuple(route) for route in found.routes}) == number
    wanted = oracle(LAYERS, x, y, **names)[0].W[1, 2]
    assert float(found.products.sum()) == pytest.approx(float(wanted), rel=BOUND)
    labels = paths.factor_names(found.routes[0], (1, 2, 3), 3)
    assert labels == (
        "∂L/∂ŷ_1", "∂ŷ_1/∂a_3,1", "∂a_3,1/∂h_2,1", "∂h_2,1/∂a_2,1", "∂a_2,1/∂h_1,2", "∂h_1,2/∂a_1,2",
        "∂a_1,2/∂W_1,2,3",
    )  # fmt: skip


@pytest.mark.parametrize("layer", [1, 2, 3])
@pytest.mark.parametrize("head", HEADS)
def test_number_of_paths(layer, head):
    names = HEADS[head]
    found = paths.paths(LAYERS, x, y, (layer, 2, 1), **names)
    assert len(found.routes) == paths.count(WIDTHS, layer, output=names["output"])
    assert found.factors.shape[1] == 3 + 2 * (3 - layer)


def test_stable_forms():
    z = jnp.array([[1000.0, 1001.0, -1000.0], [0.0, -3.0, 2.0]])
    assert bool(jnp.isfinite(paths.sigmoid_rows(z)).all())
    p = paths.softmax_rows(z)
    assert bool(jnp.isfinite(p).all())
    assert error(p.sum(-1), jnp.ones(2)) <= 1e-15
    assert error(p[1], jax.nn.softmax(z[1])) <= 1e-15
    assert error(paths.sigmoid_rows(z[1]), jax.nn.sigmoid(z[1])) <= 1e-15


@pytest.mark.parametrize("weight", [(0, 1, 1), (4, 1, 1), (1, 4, 1), (1, 1, 0)])
def test_no_such_weight(weight):
    with pytest.raises(ValueError, match=r"paths: weight was \(.*expected"):
        paths.paths(LAYERS, x, y, weight)
