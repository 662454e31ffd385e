"""Table, picture and sentence of the one gradient."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich import box
from rich.table import Table

from experiments.common import study
from experiments.one_gradient.growth import LAYERS, TIMED, WIDTH
from manual_bp.textbook.notes import FORMS

COLOURS = {"path": "#D55E00", "index": "#009E73", "vector": "#0072B2"}

ANALYTIC, GROUPS = "#0072B2", {"cplx": "#009E73", "cent": "#D55E00"}
"""Of the ways that are exact but for rounding, and of the numerical ones."""

LEAST = 3e-17
"""Where a smaller difference, such as 0, is drawn."""


def table(figures: study.Figures) -> Table:
    """Difference and cost of each way, and how the cost grows, one below the other."""
    whole = Table.grid()
    for part in (_ways_table, _growth_table):
        whole.add_row(part(figures))
    return whole


def _ways_table(figures: study.Figures) -> Table:
    title = f"Gradient of the network {figures['widths']}"
    part = _part(title, "way", "from jax.grad", "from any", "ms", "multiplications", "note")
    for key, row in figures["cost"].items():
        others = _from_analytic(figures, key)
        cells = f"{others['grad']:.0e}" if key != "grad" else "", f"{max(others.values()):.0e}"
        name = row["name"] if row["jitted"] else f"{row['name']}, eager"
        seconds, number = f"{1e3 * row['seconds']:.3g}", f"{row['multiplications']:,}"
        part.add_row(name, *cells, seconds, number, FORMS[key].note.number if key in FORMS else "")
    part.columns[0].justify = "left"
    part.caption = (
        "from jax.grad, from any: relative difference from that gradient, and the largest from one of the "
        "analytic ones, in the leaf where it is largest. The matrix form has no biases: only its weights are "
        "compared."
    )
    return part


def _from_analytic(figures: study.Figures, key: str) -> dict[str, float]:
    """The differences of a way from the other analytic ones."""
    *analytic, _, _ = figures["differences"]
    return {other: figures["differences"][key][other] for other in analytic if other != key}


def _growth_table(figures: study.Figures) -> Table:
    part = _part("Milliseconds for one example", "layers x width", "paths of one", "of all", *TIMED.values())
    for growth, shape, rate in (
        (figures["by_width"], f"{LAYERS} x {{}}", "n^{:.2f}"),
        (figures["by_depth"], f"{{}} x {WIDTH}", "{:.2f}^L"),
    ):
        for row in growth["rows"]:
            counts = [row["paths_of_a_weight"], row["paths"]]
            times = {form: f"{1e3 * seconds:.3g}" for form, seconds in row["seconds"].items()}
            part.add_row(
                shape.format(row["size"]),
                *(f"{count:,}" if count < 1e6 else f"{count:.0e}" for count in counts),
                *(times.get(form) for form in TIMED),
            )
        rates = {form: rate.format(value) for form, value in growth["growth"].items()}
        part.add_row("grows as", "", "", *(rates.get(form) for form in TIMED), end_section=True)
    return part


def _part(title: str, *heads: str) -> Table:
    part = Table(title=title, title_justify="left", caption_justify="left", box=box.SIMPLE_HEAD, padding=0)
    for head in heads:
        part.add_column(head, justify="right")
    return part


def draw(figures: study.Figures) -> Figure:
    """The differences of all ways, and the seconds against the width and the depth."""
    figure = Figure(figsize=(12, 6.5), layout="constrained")
    axes = figure.subplot_mosaic([["ways", "width"], ["ways", "depth"]], width_ratios=[1.2, 1])
    _differences(axes["ways"], figures)
    _curves(axes["width"], figures["by_width"], "n^{{{:.1f}}}")
    axes["width"].legend(loc="upper right", fontsize=8.5)
    axes["width"].set(title=f"{LAYERS} layers (numbers: paths of one weight)", xlabel="width n (neurons)")
    axes["width"].set_xscale("log", base=2)
    axes["width"].xaxis.set_major_formatter("{x:.0f}")
    _curves(axes["depth"], figures["by_depth"], "{:.1f}^L")
    axes["depth"].legend(loc="upper left", fontsize=8.5)
    axes["depth"].set(title=f"Width {WIDTH} (numbers: paths of one weight)", xlabel="depth L (layers)")
    axes["depth"].set_xticks([row["size"] for row in figures["by_depth"]["rows"]])
    return figure


def _differences(ax: Axes, figures: study.Figures) -> None:
    """A line for each way, from the least to the largest of its differences from the analytic ones."""
    ways = list(figures["cost"])
    for height, key in enumerate(ways):
        others = _from_analytic(figures, key)
        known = np.maximum(list(others.values()), LEAST)
        colour = GROUPS.get(key, ANALYTIC)
        ax.hlines(height, known.min(), known.max(), color=colour, linewidth=6, alpha=0.35)
        ax.plot(known, [height] * len(known), "|", color=colour, markersize=9)
        if key != "grad":
            ax.plot(max(others["grad"], LEAST), height, "o", color=colour, markersize=7)
    ax.axvline(np.finfo(float).eps, color="#757575", linestyle=":", zorder=0)
    ax.text(np.finfo(float).eps, -0.75, "  eps of float64", color="#757575", va="top", fontsize=9)
    ax.set(xscale="log", xlim=(LEAST / 2, 1e-7), ylim=(len(ways) - 0.5, -0.8))
    ax.set_yticks(range(len(ways)), [figures["cost"][key]["name"] for key in ways])
    ax.set_xlabel("relative difference from the analytic gradients (dot: from jax.grad)")
    ax.set_title("How far the ways are apart, in their worst leaf")
    ax.grid(axis="x", alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)


def _curves(ax: Axes, figures: study.Figures, rate: str) -> None:
    for form, growth in figures["growth"].items():
        rows = [row for row in figures["rows"] if form in row["seconds"]]
        points = [(row["size"], 1e3 * row["seconds"][form]) for row in rows]
        label = f"{TIMED[form]}: ${rate.format(growth)}$"
        ax.plot(*zip(*points, strict=True), "o-", color=COLOURS[form], label=label)
        if form == "path":
            for row, point in zip(rows, points, strict=True):
                count = f"{row['paths_of_a_weight']:,}"
                ax.annotate(count, point, (-4, 6), textcoords="offset points", ha="right", size=8)
    ax.set(ylabel="ms for one example", yscale="log")
    ax.margins(x=0.1, y=0.25)
    ax.grid(alpha=0.3)


def sentence(figures: study.Figures) -> str:
    """How far the gradients are apart, and how the forms grow; the number of paths does so on any machine."""
    gaps, width, depth = figures["largest"], figures["by_width"]["growth"], figures["by_depth"]["growth"]
    (n, some), (m, more) = _paths(figures["by_width"])
    (shallow, few), (deep, many) = _paths(figures["by_depth"])
    power, factor = np.log(more / some) / np.log(m / n), (many / few) ** (1 / (deep - shallow))
    return (
        f"The {len(figures['cost']) - 2} analytic gradients differ by at most {gaps['analytic']:.0e} of a "
        f"leaf's norm, the complex step from them by {gaps['complex_step']:.0e}, central differences by "
        f"{gaps['central_differences']:.0e}. A weight's paths are n^{power:.0f} with the width n, and "
        f"{factor:.0f} times as many with each layer of width {WIDTH}. On this machine their time grows as "
        f"n^{width['path']:.1f} and {depth['path']:.1f} times with each layer, that of the whole gradient in "
        f"vector form as n^{width['vector']:.1f} and {depth['vector']:.1f} times, in index form as "
        f"n^{width['index']:.1f}."
    )


def _paths(growth: study.Figures) -> list[tuple[int, int]]:
    """The smallest and the largest size, each with the paths of a weight."""
    rows = growth["rows"]
    return [(row["size"], row["paths_of_a_weight"]) for row in (rows[0], rows[-1])]
