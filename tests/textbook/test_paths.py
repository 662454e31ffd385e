"""Note 003, the sum over paths: how many there are, and their factors."""

import jax
import jax.numpy as jnp
import pytest

from manual_bp.textbook import paths
from tests.textbook.networks import BOUND, HEADS, LAYERS, WIDTHS, error, oracle, x, y


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
