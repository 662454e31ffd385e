"""Table, picture and sentence of what is saved."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich import box
from rich.table import Table

from experiments.common import study
from experiments.drop_in.network import WAYS

COLOURS = {"plain": "#D55E00", "checkpoint": "#757575", "replaced": "#0072B2", "both": "#56B4E9"}
LABELS = {
    "plain": "jax.grad",
    "checkpoint": "jax.checkpoint of each layer",
    "replaced": "three lines replaced",
    "both": "both",
}


def table(figures: study.Figures) -> Table:
    """A row for each way at each length."""
    shown = Table(title="A step, loss and gradient", title_justify="left", box=box.SIMPLE_HEAD)
    for head in ("tokens", "way", "temporary MB", "saved MB", "ms", "ours / this"):
        shown.add_column(head, justify="left" if head == "way" else "right")
    for row in figures["rows"]:
        ours = row["replaced"]
        for way in WAYS:
            found, is_ours = row[way], way in ("replaced", "both")
            saved = "" if is_ours else f"{(found['bytes'] - ours['bytes']) / 1e6:,.1f}"
            ms = "not run" if found["seconds"] is None else f"{1e3 * found['seconds']:,.1f}"
            ratio = "" if is_ours or found["ratio"] is None else f"{found['ratio']:.2f}"
            cells = f"{found['bytes'] / 1e6:,.1f}", saved, ms, ratio
            shown.add_row(f"{row['length']:,}", WAYS[way].name, *cells, end_section=way == "both")
    shown.caption = (
        f"not run: beyond half of the memory, {figures['limit'] / 1e6:,.0f} MB; its memory is that of the "
        "compiled program"
    )
    return shown


def draw(figures: study.Figures) -> Figure:
    """Memory and time against the length; hollow where the program was only compiled."""
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    rows = figures["rows"]
    for way, colour in COLOURS.items():
        points = [(row["length"], row[way]["bytes"] / 1e6, row[way]["seconds"]) for row in rows]
        label = f"{LABELS[way]}: T^{{{figures['growth'][way]:.1f}}}"
        left.plot(*zip(*((t, mb) for t, mb, _ in points), strict=True), color=colour, label=_math(label))
        for t, mb, seconds in points:
            left.plot(t, mb, "o", color=colour, markerfacecolor="white" if seconds is None else colour)
        ran = [(t, 1e3 * s) for t, _, s in points if s is not None]
        if ran:
            right.plot(*zip(*ran, strict=True), "o-", color=colour)
    left.axhline(figures["limit"] / 1e6, color="#222222", linestyle=":", linewidth=1)
    left.set(title="Temporary memory (hollow: compiled, not run)", ylabel="MB")
    left.legend(fontsize=9)
    right.set(title="Time of a step", ylabel="ms")
    for ax in (left, right):
        _in_logarithms(ax, [row["length"] for row in rows])
    return figure


def _math(label: str) -> str:
    words, _, power = label.rpartition(" ")
    return f"{words} ${power}$"


def _in_logarithms(ax: Axes, lengths: list[int]) -> None:
    ax.set(xscale="log", yscale="log", xlabel="tokens T")
    ax.set_xticks(lengths, [f"{length:,}" for length in lengths])
    ax.minorticks_off()
    ax.grid(alpha=0.3)


def sentence(figures: study.Figures) -> str:
    """What is saved at each length."""
    growth = {way: f"T^{power:.1f}" for way, power in figures["growth"].items()}
    differences = [row["difference"] for row in figures["rows"] if row["difference"] is not None]
    same = f"; the gradients differ by {max(differences):.0e} in float32" if differences else ""
    return (
        f"With three lines replaced, {'; '.join(map(_saved, figures['rows']))}. Memory grows as "
        f"{growth['replaced']}, with jax.grad as {growth['plain']} and with jax.checkpoint as "
        f"{growth['checkpoint']}{same}."
    )


def _saved(row: Any) -> str:
    others = []
    for way in ("plain", "checkpoint"):
        of_time = "not run" if row[way]["ratio"] is None else f"{row[way]['ratio']:.2f} of the time"
        others.append(f"{row[way]['bytes'] / 1e6:,.0f} with {WAYS[way].name} ({of_time})")
    ours, both = (f"{row[way]['bytes'] / 1e6:,.0f}" for way in ("replaced", "both"))
    ours = f"{ours} MB ({both} with jax.checkpoint too)"
    return f"a step of {row['length']:,} tokens needs {ours} instead of {' and '.join(others)}"
