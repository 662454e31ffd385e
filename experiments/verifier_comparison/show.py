"""Table, picture and sentence of the comparison."""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from rich import box
from rich.table import Column, Table

from experiments.common import study

COLOURS = {"every draw": "#0072B2", "some draws": "#56B4E9", "false alarms": "#D55E00"}
LISTED = 4
"""Missed mistakes that the sentence names."""


def table(figures: study.Figures) -> Table:
    """One row for each check."""
    names = ("caught", "sometimes", "named", "false alarms", "raised", "seconds")
    said = "" if figures["torch"] else " PyTorch is not installed: without torch.autograd.gradcheck."
    if left_out := max(f["left_out"] for f in figures["checks"].values()):
        said += f" Left out in a narrow dtype, as its rounding is as much: up to {left_out}."
    shown = Table(
        Column("check", no_wrap=True),
        *(Column(name, justify="right") for name in names),
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
        caption=f"Draws of {figures['size']} arguments: {figures['draws']}. caught, sometimes: mistakes at "
        "every draw, and only at some; named: caught, and for what it is; raised: complaints that were other "
        "errors than the check's own, of mistakes + right pairs; seconds: median over the right pairs of a "
        f"first call, with compilation.{said}",
    )
    for check, f in figures["checks"].items():
        shown.add_row(
            check,
            f"{f['caught']} of {f['mistakes']}",
            str(f["sometimes"]),
            str(f["named"]),
            f"{f['alarms']} of {f['tries']}",
            f"{f['raised']} + {f['alarms_raised']}",
            "-" if f["seconds"] is None else f"{f['seconds']:.2f}",
        )
    return shown


def draw(figures: study.Figures) -> Figure:
    """A bar for each check: the mistakes it catches on the left, its false alarms on the right."""
    checks = figures["checks"]
    figure = Figure(figsize=(10, 1.9 + 0.42 * len(checks)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    caught, sometimes, alarms = (_column(checks, key) for key in ("caught", "sometimes", "alarms"))
    left.barh(list(checks), caught, 0.7, color=COLOURS["every draw"], label="caught at every draw")
    rest = left.barh(
        list(checks), sometimes, 0.7, caught, color=COLOURS["some draws"], label="only at some draws"
    )
    bars = right.barh(list(checks), alarms, 0.7, color=COLOURS["false alarms"], label="false alarms")
    left.bar_label(rest, [f"{f['caught']} of {f['mistakes']}" for f in checks.values()], padding=4)
    right.bar_label(bars, [f"{f['alarms']} of {f['tries']}" for f in checks.values()], padding=4)
    _finish(left, max(_column(checks, "mistakes")), "planted mistakes")
    _finish(right, max(_column(checks, "tries")), "right pairs × draws")
    left.invert_yaxis()
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(
        f"Wrong gradients caught and right ones accused; draws of {figures['size']} arguments: "
        f"{figures['draws']}"
    )
    return figure


def _column(checks: dict[str, Any], key: str) -> list[int]:
    return [f[key] for f in checks.values()]


def _finish(ax: Axes, largest: int, label: str) -> None:
    ax.set(xlim=(0, 1.35 * max(largest, 1)), xlabel=label)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(axis="y", length=0)


def sentence(figures: study.Figures) -> str:
    """What each check catches and accuses, and what ours misses."""
    checks = figures["checks"]
    caught = ", ".join(f"{check} {f['caught']} of {f['mistakes']}" for check, f in checks.items())
    alarms = ", ".join(f"{check} {f['alarms']}" for check, f in checks.items() if f["alarms"])
    ours = {check: f for check, f in checks.items() if check.startswith("ours")}
    missed = list(dict.fromkeys(name for f in ours.values() for name in f["missed"]))
    accused = list(dict.fromkeys(name for f in ours.values() for name in f["accused"]))
    named = ", ".join(f"{f['named']} in {check.split()[1]}" for check, f in ours.items())
    return (
        f"Mistakes caught at every draw: {caught}; false alarms in {max(_column(checks, 'tries'))} tries on "
        f"right pairs: {alarms or 'none'}; of the mistakes ours names {named}, misses "
        f"{_listed(missed)}, and accuses {_listed(accused)}."
    )


def _listed(names: list[str]) -> str:
    shown = ", ".join(f"“{name}”" for name in names[:LISTED])
    return (shown or "none") + (f" and {len(names) - LISTED} more" if len(names) > LISTED else "")
