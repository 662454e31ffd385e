"""The paths of one weight: each is the derivative of the loss where everything off the path is constant."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.patches import Rectangle
from rich.console import Console

from experiments.common.errors import UserError
from experiments.one_weight import measure, picture, show
from manual_bp.models import mlp
from manual_bp.textbook import columns

OUTPUTS = {"softmax": jax.nn.softmax, "sigmoid": jax.nn.sigmoid}
COSTS = {
    "cross_entropy": lambda yhat, y: -jnp.sum(y * jnp.log(yhat)),
    "quadratic": lambda yhat, y: jnp.sum((yhat - y) ** 2) / 2,
}


def along(route, layers, x, y, weight, output, cost):
    """The derivative of the loss by the weight where only the neurons of a route move."""
    layer, i, j = weight

    def only(values, neuron):
        there = jnp.arange(1, len(values) + 1) == neuron
        return jnp.where(there, values, jax.lax.stop_gradient(values))

    def loss(w):
        h = a = x
        for k, (W, b) in enumerate(layers, start=1):
            a = (W.at[i - 1, j - 1].set(w) if k == layer else W) @ h + b
            if k >= layer:
                a = only(a, route[k - layer])
            h = jnp.tanh(a)
        return COSTS[cost](only(OUTPUTS[output](a), route[-1]), y)

    return jax.grad(loss)(layers[layer - 1].W[i - 1, j - 1])


def by_difference(layers, x, label, weight):
    """The central difference of the cross-entropy of softmax outputs."""
    layer, i, j = weight
    losses = []
    for step in (1e-5, -1e-5):
        h = a = np.asarray(x)
        for k, (weights, b) in enumerate(layers, start=1):
            W = np.array(weights)
            if k == layer:
                W[i - 1, j - 1] += step
            a = W @ h + np.asarray(b)
            h = np.tanh(a)
        losses.append(np.log(np.exp(a).sum()) - a[label])
    return (losses[0] - losses[1]) / 2e-5


@pytest.mark.parametrize(
    ("weight", "output", "cost", "number"),
    [
        ((1, 2, 3), "softmax", "cross_entropy", 2 * 3 * 3),
        ((1, 5, 4), "softmax", "quadratic", 2 * 3 * 3),
        ((2, 1, 4), "sigmoid", "quadratic", 3),
    ],
)
def test_each_path_and_their_sum(weight, output, cost, number):
    settings = measure.Settings(
        weight=weight, widths=(4, 5, 2, 3), example=51, activation="tanh", output=output, cost=cost, seed=3
    )
    figures = measure.measure(settings)
    x, y = measure.example(settings)
    assert y.tolist() == [0, 1, 0]  # versicolor
    layers = columns.from_mlp(mlp.init(jax.random.key(3), settings.widths, dtype=jnp.float64))
    routes = jnp.array([path["route"] for path in figures["paths"]])
    assert len(routes) == number == len({tuple(route) for route in routes.tolist()})

    products = np.array([path["product"] for path in figures["paths"]])
    wanted = jax.jit(jax.vmap(lambda route: along(route, layers, x, y, weight, output, cost)))(routes)
    np.testing.assert_allclose(products, wanted, rtol=1e-12, atol=0)
    np.testing.assert_allclose([np.prod(path["factors"]) for path in figures["paths"]], products, rtol=1e-12)
    assert (np.diff(np.abs(products)) <= 0).all()
    assert figures["not_zero"] == (number / 3 if cost == "cross_entropy" else number)
    if cost == "cross_entropy":
        assert figures["sum"] == pytest.approx(by_difference(layers, x, 1, weight), rel=1e-7)
    assert figures["positive"] + figures["negative"] == pytest.approx(figures["sum"], abs=1e-15)
    assert figures["cancelled"] == pytest.approx(1 - abs(products.sum()) / np.abs(products).sum())
    assert figures["difference"] <= 1e-15


def test_table_and_picture_show_every_path():
    figures = measure.measure(measure.Settings(weight=(2, 1, 1), widths=(4, 2, 20, 3)))
    values = np.array([path["product"] for path in figures["paths"]])
    assert len(values) == 9
    many = {**figures, "paths": figures["paths"] * 5}
    table = show.table(many)
    assert table.row_count == 21
    output = io.StringIO()
    Console(file=output, width=200).print(table)
    last = next(line for line in output.getvalue().splitlines() if "25 more" in line)
    assert float(last.split()[2]) == pytest.approx(5 * values.sum() - np.tile(values, 5)[:20].sum(), rel=0.01)
    assert show.table(figures).row_count == 9

    network, total = picture.draw(figures).axes
    for bar, text, name in zip(total.patches, total.texts, ("positive", "negative", "sum"), strict=True):
        assert isinstance(bar, Rectangle)
        ends = bar.get_y(), bar.get_y() + bar.get_height()  # one at 0, the other at what the label says
        assert sorted(ends) == sorted((0, figures[name]))
        assert float(text.get_text().replace("−", "-")) == pytest.approx(figures[name], rel=0.01)

    ribbons = [c for c in network.collections if isinstance(c, PolyCollection)]
    assert len(ribbons) == 3 * 3 + 2  # three paths are not 0; two samples
    starts = [np.asarray(ribbon.get_paths()[1].vertices)[[0, -2]] for ribbon in ribbons[:3]]
    thickness = np.array([np.linalg.norm(top - bottom) for top, bottom in starts])
    np.testing.assert_allclose(thickness / picture.PILE, np.abs(values[:3]) / np.abs(values).sum())


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"weight": (4, 1, 1)}, "--weight was 4 1 1"),
        ({"weight": (1, 4, 1)}, "--weight was 1 4 1"),
        ({"weight": (1, 1, 5)}, "--weight was 1 1 5"),
        ({"widths": (4, 3, 100, 200, 3)}, "180,000 paths"),
        ({"example": 101, "widths": (4, 3, 2)}, "expected 1 to 100"),
        ({"output": "tanh", "example": 100}, "needs softmax or sigmoid"),
    ],
)
def test_refusals(wrong, words):
    with pytest.raises(UserError, match=words):
        measure.measure(measure.Settings(**wrong))
