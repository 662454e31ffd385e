"""A network as columns of neurons, with each path as a ribbon as thick as its contribution."""

import itertools
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Circle
from matplotlib.ticker import Formatter

from experiments.common import study
from experiments.one_weight.show import number_of_paths

MOST_DRAWN = 300
"""Paths that are drawn, the largest."""

POSITIVE, NEGATIVE, DARK, MIDDLE, LIGHT = "#0072B2", "#D55E00", "#222222", "#757575", "#C8C8C8"

GAP, HALF, PILE = 1.9, 2.6, 0.62
"""The distance of two columns, half their height, and the thickness of all paths together."""


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
    figure.suptitle(f"{symbol} = {value}, the sum over {number_of_paths(figures)} to the loss", fontsize=22)
    figure.supxlabel(figures["label"] + drawn, fontsize=13, color=MIDDLE)
    right.set_ylabel(f"contribution to {symbol}", fontsize=15)
    return figure


def _height(widths: tuple[int, ...], column: int, neuron: Any) -> Any:
    """The height in the picture of one neuron or many, counted from 1 at the top."""
    return 2 * HALF / max(widths[column], 4) * ((widths[column] + 1) / 2 - neuron)


def _curves(column: int, left: Any, right: Any) -> Float[np.ndarray, "N 60 2"]:
    """Curves from heights in a column to heights in the next one, level at both ends."""
    t, start, end = np.linspace(0, 1, 60), np.reshape(left, (-1, 1)), np.reshape(right, (-1, 1))
    y = start + (end - start) * t**2 * (3 - 2 * t)
    x = GAP * (column + 1.5 * t * (1 - t) + t**3)
    return np.stack([np.broadcast_to(x, y.shape), y], axis=-1)


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
    """The positive paths, the negative ones, and their sum: each bar from 0 to its number on the axis."""
    heights = [figures[name] for name in ("positive", "negative", "sum")]
    ax.use_sticky_edges = False  # leaves the margin for the labels
    bars = ax.bar(range(3), heights, 0.7, color=(POSITIVE, NEGATIVE, DARK))
    ax.bar_label(bars, [Formatter.fix_minus(f"{height:+#.3g}") for height in heights], padding=4, fontsize=14)
    ax.axhline(0, color=MIDDLE, linewidth=1)
    ax.set_xticks(range(3), ["positive\npaths", "negative\npaths", "sum"], fontsize=14)
    ax.tick_params(axis="x", length=0)
    ax.spines[["top", "right", "bottom"]].set_visible(False)
