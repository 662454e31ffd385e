r"""Which paths lead from one weight to the loss, and how do they add up to its gradient?

a is the pre-activation, h the activation, h_0 = x; W_lij is the weight from neuron j of layer l-1 to neuron
i of layer l; layers, neurons and examples are counted from 1.

    a_l = W_l h_(l-1) + b_l,   h_l = g(a_l),   yhat = O(a_L),   L(yhat, y)              (1)

A path is one neuron of each later layer and one output o: i_l = i, i_(l+1), ..., i_L, o. It contributes

    p = dL/dyhat_o  dyhat_o/da_L,i_L  [prod_(k=l+1..L) W_k,i_k,i_(k-1) g'(a_(k-1),i_(k-1))]  h_(l-1),j   (2)
    dL/dW_lij = sum over the paths of p                                                 (3)
    cancelled = 1 - |sum p| / sum |p|                                                   (4)

Their number grows as the product of the widths; backpropagation gets (3) without them. With the
cross-entropy and the one-hot target of a class, every path that ends in another class is 0.
"""

import dataclasses
import itertools
import re
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Circle
from matplotlib.ticker import Formatter
from rich.table import Table
from sklearn.datasets import load_iris

from experiments.common import errors, study
from experiments.common.errors import UserError, choose
from jax_ref import textbook
from manual_bp.models import mlp
from manual_bp.textbook import columns, four_equations, functions, paths

MOST_PATHS, MOST_ROWS, MOST_DRAWN = 100_000, 40, 300
"""What is computed, printed in full and drawn; of more rows, half as many are printed."""

POSITIVE, NEGATIVE, DARK, MIDDLE, LIGHT = "#0072B2", "#D55E00", "#222222", "#757575", "#C8C8C8"
GAP, HALF, PILE = 1.9, 2.6, 0.62
"""In the picture: the distance of two columns, half their height, and the thickness of all paths together."""


@dataclasses.dataclass(frozen=True)
class Settings(study.Settings):
    """Which paths lead from one weight to the loss, and how do they add up to its gradient?"""

    weight: tuple[int, int, int] = (1, 2, 3)
    """The layer of the weight, the neuron that it leads to and the neuron that it comes from."""
    widths: tuple[int, ...] = (4, 3, 3, 3)
    """Width of every layer, from the inputs (the first of the 4 features) to the outputs (3 classes)."""
    example: int = 1
    """Of scikit-learn's irises, with standardised features: 1 to 50 are setosa, up to 100 versicolor."""
    activation: str = "sigmoid"
    """Activation of the hidden layers: identity, relu, sigmoid or tanh."""
    output: str = "softmax"
    """Function of the last layer: identity, sigmoid, softmax or tanh."""
    cost: str = "cross_entropy"
    """cross_entropy, mean_squares or quadratic."""


def check(settings: Settings) -> None:
    """Raise `UserError` for an unknown name, a weight that is not there, or too many paths."""
    choose("--activation", settings.activation, functions.ACTIVATIONS)
    choose("--output", settings.output, functions.OUTPUTS)
    choose("--cost", settings.cost, functions.COSTS)
    widths, (layer, i, j) = settings.widths, settings.weight
    shown, weight = (" ".join(map(str, numbers)) for numbers in (widths, settings.weight))
    if len(widths) < 2 or min(widths) < 1 or widths[0] > 4:
        raise UserError(f"--widths was {shown}; expected two positive numbers or more, the first at most 4.")
    if not (1 <= layer < len(widths) and 1 <= i <= widths[layer] and 1 <= j <= widths[layer - 1]):
        expected = f"a layer of 1 to {len(widths) - 1}, a neuron in it and one in the layer before"
        raise UserError(f"--weight was {weight}; expected {expected}, where --widths is {shown}.")
    if (number := paths.count(widths, layer, output=settings.output)) > MOST_PATHS:
        raise UserError(f"--weight was {weight}, with {number:,} paths; expected {MOST_PATHS:,} at most.")
    most = 50 * min(3, widths[-1])  # the classes follow on each other
    if not 1 <= settings.example <= most:
        raise UserError(f"--example was {settings.example}; expected 1 to {most}, where --widths is {shown}.")


def example(settings: Settings) -> tuple[Float[Array, " I"], Float[Array, " O"]]:
    """Its inputs and its one-hot target."""
    x, label = load_iris(return_X_y=True)
    x, k = (x - x.mean(0)) / x.std(0), settings.example - 1
    return jnp.asarray(x[k, : settings.widths[0]]), jnp.asarray(np.eye(settings.widths[-1])[label[k]])


def measure(settings: Settings) -> study.Figures:
    """All paths, the largest first, and their sum beside the gradient by backpropagation and by jax.grad."""
    check(settings)
    x, y = example(settings)
    layers = columns.from_mlp(mlp.init(jax.random.key(settings.seed), settings.widths, dtype=jnp.float64))
    names = {"activation": settings.activation, "output": settings.output, "cost": settings.cost}
    layer, i, j = settings.weight
    each = jax.jit(partial(paths.paths, weight=settings.weight, **names))(layers, x, y)  # (2)
    found = jax.tree.map(np.asarray, each)
    products = found.products + 0.0  # makes 0 of -0
    by_hand = jax.jit(partial(four_equations.gradient, **names))(layers, x, y)
    loss, autodiff = jax.jit(jax.value_and_grad(partial(textbook.example_cost, **names)))(layers, x, y)
    if not np.isfinite([loss, *products]).all():  # the logarithm of an output that is not positive
        raise UserError(f"--output was {settings.output}; {settings.cost} needs softmax or sigmoid here.")
    gradients = [float(g[layer - 1].W[i - 1, j - 1]) + 0.0 for g in (by_hand, autodiff)]
    total, size = float(products.sum()), float(np.abs(products).sum())  # (3)
    order = np.argsort(-np.abs(products), kind="stable")
    rows = zip(found.routes[order], found.factors[order], products[order], strict=True)
    return {
        "weight": list(settings.weight),
        "widths": list(settings.widths),
        "output": settings.output,
        "name": f"W_{layer},{i},{j}",
        "label": f"iris {settings.example} at initialisation: " + ", ".join(names.values()).replace("_", "-"),
        "not_zero": int(np.count_nonzero(products)),
        "loss": float(loss),
        "sum": total,
        "positive": float(products[products > 0].sum()),
        "negative": float(products[products < 0].sum()),
        "cancelled": 1 - abs(total) / size if size else 0.0,  # (4)
        "backpropagation": gradients[0],
        "autodiff": gradients[1],
        "difference": max(abs(total - gradient) for gradient in gradients),
        "paths": [{"route": r.tolist(), "factors": f.tolist(), "product": float(p)} for r, f, p in rows],
    }


def table(figures: study.Figures) -> Table:
    """One row for each path, the largest first; of many, half of `MOST_ROWS` and the sum of the others."""
    everything, total, depth = figures["paths"], figures["sum"], len(figures["widths"]) - 1
    lines = {f"sum over {_count(figures)}": "sum", "gradient by backpropagation": "backpropagation"}
    lines |= {"gradient by jax.grad": "autodiff", "largest difference": "difference"}
    hidden = "".join(f"h_{k}, " for k in range(figures["weight"][0], depth))
    shown = Table(
        title=f"Paths from {figures['name']} through {hidden}a_{depth}, ŷ to the loss",
        caption="\n".join(f"{name:<30}{figures[key]: .16g}" for name, key in lines.items()),
        caption_justify="left", box=None, pad_edge=False, min_width=54,
    )  # fmt: skip
    factors = paths.factor_names(everything[0]["route"], figures["weight"], depth)
    general = (re.sub(r"(?<=ŷ)_\d+|,\d+", "", name) for name in factors)  # the neurons are in the rows
    for name in ("through", *(name.replace("/", "/\n") for name in general), "product", "of sum"):
        shown.add_column(name, justify="right", overflow="fold")
    printed = everything if len(everything) <= MOST_ROWS else everything[: MOST_ROWS // 2]
    for path in printed:
        values = (f"{value:.3g}" for value in (*path["factors"], path["product"]))
        shown.add_row(" ".join(map(str, path["route"])), *values, _share(path["product"], total))
    if more := len(everything) - len(printed):
        rest = sum(path["product"] for path in everything[len(printed) :])
        shown.add_row(f"{more:,} more", *[""] * len(factors), f"{rest:.3g}", _share(rest, total))
    return shown


def _share(part: float, total: float) -> str:
    return f"{part / total + 0.0:.1%}" if total else "no share"


def _count(figures: study.Figures) -> str:
    return f"{len(figures['paths']):,} path" + "s" * (len(figures["paths"]) > 1)


def _height(widths: tuple[int, ...], column: int, neuron: Any) -> Any:
    """The height in the picture of one neuron or many, counted from 1 at the top."""
    return 2 * HALF / max(widths[column], 4) * ((widths[column] + 1) / 2 - neuron)


def _curves(column: int, left: Any, right: Any) -> Float[np.ndarray, "N 60 2"]:
    """Curves from heights in a column to heights in the next one, level at both ends."""
    t, start, end = np.linspace(0, 1, 60), np.reshape(left, (-1, 1)), np.reshape(right, (-1, 1))
    y = start + (end - start) * t**2 * (3 - 2 * t)
    x = GAP * (column + 1.5 * t * (1 - t) + t**3)
    return np.stack([np.broadcast_to(x, y.shape), y], axis=-1)


def draw(figures: study.Figures) -> Figure:
    """The network, each path a ribbon as thick as its contribution; beside it their sum."""
    widths = (*figures["widths"], figures["widths"][-1], 1)  # and yhat, and the loss
    across = GAP * (len(widths) - 1) + 1
    figure = Figure(figsize=(0.9 * across + 3.8, 7.4), layout=ConstrainedLayoutEngine(h_pad=0.12))
    left, right = figure.subplots(1, 2, width_ratios=(0.9 * across, 3.4))
    left.set(xlim=(-0.5, across - 0.5), ylim=(-HALF - 1.4, HALF + 0.5), aspect="equal")
    left.axis("off")
    _draw_network(left, widths, figures)
    if figures["not_zero"]:
        _draw_paths(left, widths, figures)
    _draw_sum(right, figures)
    symbol = rf"$\partial L/\partial W_{{{figures['name'][2:]}}}$"
    drawn = f"; the largest {MOST_DRAWN} paths are drawn" if figures["not_zero"] > MOST_DRAWN else ""
    value = Formatter.fix_minus(f"{figures['sum']:#.3g}")
    figure.suptitle(f"{symbol} = {value}, the sum over {_count(figures)} to the loss", fontsize=22)
    figure.supxlabel(figures["label"] + drawn, fontsize=13, color=MIDDLE)
    right.set_ylabel(f"contribution to {symbol}", fontsize=15)
    return figure


def _draw_network(ax: Axes, widths: tuple[int, ...], figures: study.Figures) -> None:
    """Circles and connections, the weight in bold, and (2) under the columns."""
    (layer, i, j), depth = figures["weight"], len(figures["widths"]) - 1
    colours = {True: (DARK, DARK), False: (LIGHT, MIDDLE)}
    text = partial(ax.text, ha="center", color=DARK, zorder=5)
    hidden = [(f"hidden layer {k}", f"h_{{{k},%s}}") for k in range(1, depth)]
    ends = [("pre-activation", f"a_{{{depth},%s}}"), (figures["output"], r"\hat{y}_{%s}"), ("loss", "L%.0s")]
    for column, (title, name) in enumerate([("input", "x_{%s}"), *hidden, *ends]):
        text(GAP * column, HALF + 0.2, title, fontsize=14, color=MIDDLE)
        radius = min(0.4, 0.8 * HALF / widths[column])
        for n in range(1, widths[column] + 1):
            used = column > layer or (column, n) in ((layer, i), (layer - 1, j))
            spot, edge, colour = (GAP * column, _height(widths, column, n)), *colours[used]
            ax.add_patch(Circle(spot, radius, facecolor="white", edgecolor=edge, linewidth=1.6, zorder=4))
            if radius > 0.15:
                text(*spot, f"${name % n}$", va="center", fontsize=45 * radius, color=colour)
    for column, (before, after) in enumerate(itertools.pairwise(widths)):
        a, b = np.indices((before, after)).reshape(2, -1) + 1
        if column == depth and figures["output"] != "softmax":  # an elementwise output
            a = b = np.arange(1, before + 1)
        curves = _curves(column, _height(widths, column, a), _height(widths, column + 1, b))
        ax.add_collection(LineCollection(list(curves), colors=LIGHT, linewidths=0.7, zorder=1))
    (curve,) = _curves(layer - 1, _height(widths, layer - 1, j), _height(widths, layer, i))
    ax.plot(*curve.T, color=DARK, linewidth=4, zorder=3)
    (x, y), (right, up) = curve[30], curve[31] - curve[30]
    label = text(x - 0.05, y + 0.1, f"$W_{{{layer},{i},{j}}}$", va="bottom", fontsize=16)
    label.set(rotation=np.degrees(np.arctan2(up, right)), rotation_mode="anchor")
    factors = [f"h_{{{layer - 1},{j}}}" if layer > 1 else f"x_{{{j}}}"]
    factors += [rf"g'(a_{{{k}}})\,W_{{{k + 1}}}" for k in range(layer, depth)]
    factors += [rf"\partial\hat{{y}}/\partial a_{{{depth}}}", r"\partial L/\partial\hat{y}"]
    for column, factor in enumerate(factors, start=layer):
        text(GAP * (column - 0.5), -HALF - 0.5, f"${factor}$", fontsize=18)
        text(GAP * (column - 1), -HALF - 0.5, r"$\times$" if column > layer else "", fontsize=18)


def _draw_paths(ax: Axes, widths: tuple[int, ...], figures: study.Figures) -> None:
    """The ribbons, and below what their thickness and colour mean."""
    drawn = [path for path in figures["paths"][:MOST_DRAWN] if path["product"]]
    products = np.array([path["product"] for path in drawn])
    neurons = np.array([[*path["route"], 1] for path in drawn])
    scale = PILE / (figures["positive"] - figures["negative"])
    for column, (here, there) in enumerate(itertools.pairwise(neurons.T), start=figures["weight"][0]):
        left = _height(widths, column, here) + scale * _in_pile(here, there, products)
        right = _height(widths, column + 1, there) + scale * _in_pile(there, here, products)
        _draw_ribbons(ax, _curves(column, left, right), scale * products)
    unit = float(f"{np.abs(products).max():.0e}")
    for start, value in ((0.0, unit), (2 * GAP, -unit)):
        sample = np.array([[[start, -HALF - 1.1], [start + 0.7, -HALF - 1.1]]])
        _draw_ribbons(ax, sample, np.array([scale * value]))
        text = Formatter.fix_minus(f"a path of {value:+g}")
        ax.text(start + 0.85, -HALF - 1.1, text, va="center", fontsize=14)


def _in_pile(at: np.ndarray, other: np.ndarray, products: np.ndarray) -> np.ndarray:
    """Where each path lies among those through its neuron: by the neuron at the other end, then by value."""
    offset = np.zeros(len(at))
    for neuron in np.unique(at):
        pile = np.flatnonzero(at == neuron)
        pile = pile[np.lexsort((-products[pile], other[pile]))]
        thick = np.abs(products[pile])
        offset[pile] = thick.sum() / 2 - np.cumsum(thick) + thick / 2
    return offset


def _draw_ribbons(ax: Axes, curves: np.ndarray, values: np.ndarray) -> None:
    """Ribbons as thick as their values along curves (N, M, 2), on white rims that part them."""
    slope = np.gradient(curves, axis=1)[..., ::-1] * np.array([-1, 1])
    across = slope / np.linalg.norm(slope, axis=-1, keepdims=True) / 2
    for curve, side, value in zip(curves, across, values, strict=True):
        thick, colour = abs(value), POSITIVE if value > 0 else NEGATIVE
        wide = (thick + min(0.02, thick), thick)
        shapes = [np.concatenate([curve + w * side, (curve - w * side)[::-1]]) for w in wide]
        ax.add_collection(PolyCollection(shapes, facecolors=["white", colour], linewidths=0, zorder=2))


def _draw_sum(ax: Axes, figures: study.Figures) -> None:
    """The positive paths, from their end the negative ones, and what is left."""
    heights = [figures[name] for name in ("positive", "negative", "sum")]
    ax.use_sticky_edges = False  # leaves the margin for the labels
    bars = ax.bar(range(3), heights, 0.7, [0, heights[0], 0], color=(POSITIVE, NEGATIVE, DARK))
    ax.bar_label(bars, [Formatter.fix_minus(f"{height:+#.3g}") for height in heights], padding=4, fontsize=14)
    ax.axhline(0, color=MIDDLE, linewidth=1)
    ax.set_xticks(range(3), ["positive\npaths", "negative\npaths", "sum"], fontsize=14)
    ax.tick_params(axis="x", length=0)
    ax.spines[["top", "right", "bottom"]].set_visible(False)


def sentence(figures: study.Figures) -> str:
    """How many paths there are, how they cancel, and whether their sum is the gradient."""
    f, largest = figures, figures["paths"][0]["product"]
    return (
        f"{_count(f)} from {f['name']} to the loss, {f['not_zero']:,} not 0, the largest {largest:.3g} "
        f"({_share(largest, f['sum'])} of the sum): the positive ones sum to {f['positive']:.3g}, the "
        f"negative ones to {f['negative']:.3g}, so that {f['cancelled']:.1%} cancels; the sum, "
        f"{f['sum']:.6g}, is the gradient by backpropagation and by jax.grad to within {f['difference']:.1g}."
    )


STUDY = study.Study("one_weight", Settings, measure, table, draw, sentence)

if __name__ == "__main__":
    errors.run(lambda: study.run(STUDY))
