"""Table, picture and sentence of gradients through time."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich import box
from rich.table import Table

from experiments.common import study

TITLES = {"rnn": "plain network", "lstm": "LSTM", "gru": "GRU"}
NAMES = {"rnn": "a plain network", "lstm": "an LSTM", "gru": "a GRU"}
COLOURS = ("#07B", "#097", "#EA0", "#D50", "#000", "#C7A", "#5BE")


def table(figures: study.Figures) -> Table:
    """A row for each kind of network."""
    table = Table(box=box.SIMPLE, padding=(0, 1, 0, 0))
    for head in (
        "network",
        f"norm {figures['steps']}\nsteps back",
        "factor per\nstep back",
        "by (3)\nor (4)",
    ):
        table.add_column(head)
    table.title = "Norm of the gradient of a state by the last output: median, and 5–95%"
    cell = None
    for kind in figures["kinds"]:
        if cell not in (None, kind["cell"]):
            table.add_section()
        cell = kind["cell"]
        bands = (_shown(band).replace(" (", "\n(") for band in (kind["norm"][-1], kind["factor"]))
        table.add_row(f"{TITLES[cell]}\n{_parameter(kind)}", *bands, _number(kind["expected"]))
    return table


def draw(figures: study.Figures) -> Figure:
    """A panel for each cell: the norm by steps back."""
    cells = [cell for cell in TITLES if any(kind["cell"] == cell for kind in figures["kinds"])]
    figure = Figure(figsize=(1 + 3.7 * len(cells), 4.2), layout="constrained")
    grid = figure.subplots(1, len(cells), sharey=True, squeeze=False)[0]
    for ax, cell in zip(grid, cells, strict=True):
        kinds = [kind for kind in figures["kinds"] if kind["cell"] == cell]
        for place, kind in enumerate(kinds):
            low, median, high = (
                np.array([band[q] for band in kind["norm"]], float) for q in ("low", "median", "high")
            )
            back, colour = np.arange(len(median)), COLOURS[place % len(COLOURS)]
            ax.plot(back, median, color=colour, label=_parameter(kind))
            ax.fill_between(back, low, high, color=colour, alpha=0.2, linewidth=0)
        title = f"{TITLES[cell]}, {figures['activation']}" if cell == "rnn" else TITLES[cell]
        ax.set(title=title, xlabel="steps back")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.grid(alpha=0.3)
        ax.legend()
    grid[0].set(yscale="log", ylabel="norm of dh (median, 5–95%)")
    return figure


def sentence(figures: study.Figures) -> str:
    """The factor of each kind."""
    parts = [
        f"{_number(kind['factor']['median'])} in {NAMES[kind['cell']]} with {_parameter(kind)}"
        for kind in figures["kinds"]
    ]
    return f"One step back in time, the norm of the gradient is multiplied by {'; '.join(parts)}."


def _parameter(kind: dict[str, Any]) -> str:
    name = "gain" if kind["cell"] == "rnn" else "bias"
    return f"{name} {kind[name]:g}"


def _shown(band: dict[str, float | None]) -> str:
    return f"{_number(band['median'])} ({_number(band['low'])}–{_number(band['high'])})"


def _number(value: float | None) -> str:
    if value is None:
        return "?"
    return f"{value:.1e}" if value and not 0.01 <= abs(value) < 1000 else f"{value:.3g}"
