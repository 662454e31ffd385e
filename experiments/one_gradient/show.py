"""Table, picture and sentence of the one gradient."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich import box
from rich.table import Table

from experiments.common import study
from experiments.one_gradient.growth import FORMS, LAYERS, WIDTH

COLOURS = {"path": "#D55E00", "index": "#009E73", "vector": "#0072B2"}


def table(figures: study.Figures) -> Table:
    """The differences of all pairs, the cost of each way, and its growth, one below the other."""
    whole = Table.grid()
    for part in (_differences_table, _cost_table, _growth_table):
        whole.add_row(part(figures))
    return whole


def _differences_table(figures: study.Figures) -> Table:
    part = _part("Largest relative difference of two gradients over the leaves", "", *figures["differences"])
    for key, row in figures["differences"].items():
        part.add_row(key, *("" if i == key else f"{gap:.0e}" if gap else "0" for i, gap in row.items()))
    part.caption = "000 has no biases and is compared on the weights alone."
    return part


def _cost_table(figures: study.Figures) -> Table:
    part = _part(f"Gradient of the network {figures['widths']}", "", "ms", "multiplications", "")
    for key, row in figures["cost"].items():
        name = row["name"] if row["jitted"] else f"{row['name']}, eager"
        part.add_row(key, f"{1e3 * row['seconds']:.3g}", f"{row['multiplications']:,}", name)
    part.columns[-1].justify = "left"
    return part


def _growth_table(figures: study.Figures) -> Table:
    part = _part("Milliseconds for one example", "layers x width", "paths of one", "of all", *FORMS.values())
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
                *(times.get(form) for form in FORMS),
            )
        rates = {form: rate.format(value) for form, value in growth["growth"].items()}
        part.add_row("grows as", "", "", *(rates.get(form) for form in FORMS), end_section=True)
    return part


def _part(title: str, *heads: str) -> Table:
    part = Table(title=title, title_justify="left", caption_justify="left", box=box.SIMPLE_HEAD, padding=0)
    for head in heads:
        part.add_column(head, justify="right")
    return part


def draw(figures: study.Figures) -> Figure:
    """The differences of all pairs, and the seconds against the width and the depth."""
    figure = Figure(figsize=(12, 6.5), layout="constrained")
    axes = figure.subplot_mosaic([["pairs", "width"], ["pairs", "depth"]], width_ratios=[1.2, 1])
    _heat_map(axes["pairs"], figures)
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


def _heat_map(ax: Axes, figures: study.Figures) -> None:
    gaps = np.array([list(row.values()) for row in figures["differences"].values()])
    np.fill_diagonal(gaps, np.nan)
    floor = np.min(gaps, where=gaps > 0, initial=1)  # a difference of zero has no logarithm
    logs = np.log10(np.maximum(gaps, floor))
    dark = logs < (np.nanmin(logs) + np.nanmax(logs)) / 2
    for (i, j), gap in np.ndenumerate(gaps):
        text = "" if np.isnan(gap) else f"{logs[i, j]:.1f}" if gap else "0"
        ax.text(j, i, text, ha="center", va="center", size=8.5, color="white" if dark[i, j] else "black")
    ax.set_xticks(range(len(gaps)), list(figures["cost"]), rotation=45)
    ax.set_yticks(range(len(gaps)), [f"{row['name']}  {key}" for key, row in figures["cost"].items()])
    ax.set_title("Largest relative difference of two gradients over the leaves", loc="right")
    image = ax.imshow(logs, cmap="viridis")
    ax.figure.colorbar(image, ax=ax, shrink=0.7, label="log10 of the difference")


def _curves(ax: Axes, figures: study.Figures, rate: str) -> None:
    for form, growth in figures["growth"].items():
        rows = [row for row in figures["rows"] if form in row["seconds"]]
        points = [(row["size"], 1e3 * row["seconds"][form]) for row in rows]
        label = f"{FORMS[form]}: ${rate.format(growth)}$"
        ax.plot(*zip(*points, strict=True), "o-", color=COLOURS[form], label=label)
        if form == "path":
            for row, point in zip(rows, points, strict=True):
                count = f"{row['paths_of_a_weight']:,}"
                ax.annotate(count, point, (0, 6), textcoords="offset points", ha="right", size=8)
    ax.set(ylabel="ms for one example", yscale="log")
    ax.margins(y=0.25)
    ax.grid(alpha=0.3)


def sentence(figures: study.Figures) -> str:
    """How far the gradients are apart, and how the forms grow."""
    gaps, width, depth = figures["largest"], figures["by_width"]["growth"], figures["by_depth"]["growth"]
    return (
        f"The {len(figures['cost']) - 2} analytic gradients differ by at most {gaps['analytic']:.0e} of a "
        f"leaf's norm, the complex step from them by {gaps['complex_step']:.0e}, central differences by "
        f"{gaps['central_differences']:.0e}; the time of one weight by paths grows as n^{width['path']:.1f} "
        f"with the width n, that of all in index form as n^{width['index']:.1f}, in vector form as "
        f"n^{width['vector']:.1f}, and each layer multiplies it by {depth['path']:.1f} for paths, by "
        f"{depth['vector']:.1f} in vector form."
    )
