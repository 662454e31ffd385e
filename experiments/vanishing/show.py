"""Table, picture and sentence of vanishing gradients."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich import box
from rich.table import Table

from experiments.common import study
from experiments.vanishing.measure import TRAINED_DEPTH

COLOURS = {"unit_normal": "#D50", "fan_in": "#07B", "glorot": "#097", "he": "#EA0", "near_zero": "#000"}
"""Of the initialisations."""


def table(figures: study.Figures) -> Table:
    """The shallowest and the deepest network of each kind."""
    heads = ("network", "layers", "first hidden\nlayer", "last hidden\nlayer", "factor per\nlayer back")
    table = Table(*heads, box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.title = "Norm of the delta at initialisation: median, and 5–95%"
    for activation, kinds in figures["initial"].items():
        for name, rows in kinds.items():
            for row in rows[:: max(1, len(rows) - 1)]:
                bands = (row["norm"][0], row["norm"][-1], row["factor"])
                cells = (_shown(band).replace(" (", "\n(") for band in bands)
                table.add_row(f"{activation}\n{name}", str(row["depth"]), *cells)
        table.add_section()
    return table


def draw(figures: study.Figures) -> Figure:
    """A column for each activation: the norms by layer, by depth, and in training."""
    figure = Figure(figsize=(1 + 3.7 * len(figures["initial"]), 11.5), layout="constrained")
    untrained, trained = figure.subfigures(2, 1, squeeze=False, height_ratios=(2, 1))[:, 0]
    upper = untrained.subplots(2, len(figures["initial"]), sharey="row", squeeze=False)
    lower = trained.subplots(1, len(figures["initial"]), sharey="row", squeeze=False)
    grid = np.concatenate([upper, lower])
    for column, (activation, kinds) in enumerate(figures["initial"].items()):
        by_layer, by_depth, by_epoch = grid[:, column]
        depths = [row["depth"] for row in next(iter(kinds.values()))]
        for name, rows in kinds.items():
            style = {"label": name, "marker": ".", "color": COLOURS[name]}
            _line(by_layer, range(1, depths[-1] + 1), rows[-1]["norm"], **style)
            _line(by_depth, depths, [row["norm"][0] for row in rows], **style)
        course = figures["training"][activation]
        for k in range(TRAINED_DEPTH):
            layer = [epoch[k] for epoch in course["norm"]]
            colour = colormaps["viridis"](0.9 * k / (TRAINED_DEPTH - 1))
            banded = k in (0, TRAINED_DEPTH - 1)  # those of the layers between lie on them
            label = f"hidden layer {k + 1}"
            _line(by_epoch, range(len(layer)), layer, banded=banded, label=label, color=colour)
        by_layer.set(title=f"{activation}: {depths[-1]} hidden layers, untrained", xlabel="hidden layer")
        by_depth.set(title=f"{activation}: first layer, untrained", xlabel="number of hidden layers")
        kind = f"{activation} {course['initialization']}"
        by_epoch.set(title=f"{kind}: {TRAINED_DEPTH} hidden layers, training", xlabel="epoch")
        for ax in grid[:, column]:
            ax.grid(alpha=0.3)
            ax.xaxis.get_major_locator().set_params(integer=True)
    for ax in grid[:, 0]:
        ax.set(yscale="log", ylabel="norm of the delta (median, 5–95%)")
    for part, ax in ((untrained, grid[0, 0]), (trained, grid[2, 0])):
        handles, labels = ax.get_legend_handles_labels()
        part.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    return figure


def sentence(figures: study.Figures) -> str:
    """The factor of the deepest networks, with the initialisations that were trained."""
    factors, held = [], []
    for activation, kinds in figures["initial"].items():
        name = figures["training"][activation]["initialization"]
        depth, factor = kinds[name][-1]["depth"], _shown(kinds[name][-1]["factor"])
        factors.append(f"{factor} with {activation}, {name} and {depth} hidden layers")
    for row in figures["book"]:
        inside = [band["low"] <= band["book"] <= band["high"] for band in row["norm"]]
        two = ", ".join(f"{band['book']} against {_shown(band)}" for band in row["norm"][:2])
        held.append(f"{sum(inside)} of {len(inside)} with {row['initialization']} and {row['cost']} ({two})")
    text = f"One hidden layer back, the norm of the delta is multiplied (5–95%) by {'; '.join(factors)}."
    return f"{text} The bands hold, of Nielsen's numbers, {'; '.join(held)}." if held else text


def _line(
    ax: Axes, x: Sequence[int], bands: Sequence[dict[str, float | None]], *, banded: bool = True, **style: Any
) -> None:
    low, median, high = (np.array([band[q] for band in bands], float) for q in ("low", "median", "high"))
    ax.plot(x, median, **style)
    if banded:
        ax.fill_between(x, low, high, color=style["color"], alpha=0.2, linewidth=0)


def _shown(band: dict[str, float | None]) -> str:
    return f"{_number(band['median'])} ({_number(band['low'])}–{_number(band['high'])})"


def _number(value: float | None) -> str:
    if value is None:
        return "?"
    text = f"{value:.1e}" if 0 < value < 0.01 else f"{value:#.2g}".rstrip(".")
    return text.replace("e-0", "e-").replace("e+0", "e")
