"""Table, picture and sentence of the mistakes."""

import math

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from rich import box
from rich.table import Column, Table

from experiments.common import study
from experiments.mistakes import ours
from experiments.mistakes.checks import CHECKS
from experiments.mistakes.measure import LOSS
from experiments.mistakes.places import NAMES
from manual_bp.textbook.notes import label

PLACES = {LOSS: ("start",)} | dict.fromkeys((*CHECKS, *ours.DTYPES), NAMES)
"""Where each check is asked."""

SHORT = (
    "loss",
    "check\ngrads\nf32",
    "check\ngrads\nf64",
    "chex",
    "all\nclose",
    "all\nclose\nloose",
    "ours\nf32",
    "ours\nf64",
)
"""The checks in the picture, in the order of `PLACES`."""

COLOURS = {
    "right every time": "#0072B2",
    "right sometimes": "#F0E442",
    "missed every time": "#D55E00",
    "false alarm": "#CC79A7",
    "does not run": "#DDDDDD",
}


def table(figures: study.Figures) -> Table:
    """One row for each gradient."""
    shown = Table(
        Column("gradient", ratio=5),
        Column("lost", justify="right", no_wrap=True),
        Column("wrong about it", ratio=8),
        Column("ours says", ratio=3),
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
        caption=f"Of {figures['repeats']} tries at each place. lost: points of test accuracy. wrong about "
        "it: the checks that miss a mistake, or accuse a right gradient, at the places named, or at all; the "
        "training loss misses it by falling. ours says: the first wrong leaf on the way back, at the start, "
        "and what is wrong with it.",
    )
    for row in figures["rights"] + figures["planted"]:
        cells = ("-",) * 3
        if "complaints" in row:
            said = ": ".join(filter(None, (row["leaf"], kind(row))))
            cells = f"{row['lost']:.1f}", "\n".join(_wrong(figures, row)), said
        shown.add_row(label(row["name"]), *cells, end_section=row is figures["rights"][-1])
    return shown


def _wrong(figures: study.Figures, row: study.Figures) -> list[str]:
    """The checks that are wrong about a row, a line for those that are so in the same way."""
    alike: dict[str, list[str]] = {}
    for check, places in PLACES.items():
        outcomes = {place: outcome(figures, row, check, place) for place in places}
        wrong = {place: found for place, found in outcomes.items() if found != "right every time"}
        where = ", ".join(
            place + " at times" * (found == "right sometimes") for place, found in wrong.items()
        )
        if set(outcomes.values()) == {"missed every time"}:
            where = ""
        if wrong:
            alike.setdefault(where, []).append(check)
    return [": ".join(filter(None, (", ".join(checks), where))) for where, checks in alike.items()]


def kind(row: study.Figures) -> str:
    """What ours calls a mistake; nothing where it only says that the gradient is another one."""
    return "" if row.get("kind") in (None, "gradient") else row["kind"]


def outcome(figures: study.Figures, row: study.Figures, check: str, place: str) -> str:
    """How right a check is about a row at a place, one of `COLOURS`."""
    if "complaints" not in row:
        return "does not run"
    complaints = row["complaints"][check][place]
    if row in figures["rights"]:
        return "false alarm" if complaints else "right every time"
    return {0: "missed every time", figures["repeats"]: "right every time"}.get(complaints, "right sometimes")


def draw(figures: study.Figures) -> Figure:
    """A cell for each gradient, check and place, beside the accuracy that the gradient loses."""
    rows, kinds = figures["rights"] + figures["planted"], list(COLOURS)
    figure = Figure(figsize=(11, 2.2 + 0.21 * len(rows)), layout="constrained")
    cells, bars = figure.subplots(1, 2, sharey=True, width_ratios=(4, 1))
    colours = {"cmap": ListedColormap(list(COLOURS.values())), "vmin": 0, "vmax": len(kinds) - 1}
    left, ticks = 0.0, {}
    for (check, places), title in zip(PLACES.items(), SHORT, strict=True):
        found = [[kinds.index(outcome(figures, row, check, place)) for place in places] for row in rows]
        edges = left + np.arange(len(places) + 1), np.arange(len(rows) + 1)
        cells.pcolormesh(*edges, found, edgecolors="white", **colours)
        cells.text(left + len(places) / 2, -0.4, title, ha="center", va="bottom")
        ticks |= {left + number + 0.5: place[0] for number, place in enumerate(places)}
        left += len(places) + 0.5
    centres, lost = np.arange(len(rows)) + 0.5, [row.get("lost", math.nan) for row in rows]
    bars.bar_label(bars.barh(centres, lost, 0.7, color="#555555"), fmt="{:.1f}", padding=3, fontsize=8)
    bars.set(xlim=(min(0, np.nanmin(lost)) - 10, 120), xlabel="points", title="accuracy lost")
    cells.set(ylim=(len(rows), 0), xlabel="place: start, trained, zeros, drawn")
    cells.set_xticks(list(ticks), list(ticks.values()), fontsize=8)
    cells.set_yticks(centres, [label(row["name"]) for row in rows])
    for ax in (cells, bars):
        ax.axhline(len(figures["rights"]), color="white", linewidth=6)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    patches = [Patch(color=colour, label=label) for label, colour in COLOURS.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=5, frameon=False)
    figure.suptitle(f"Is each check right about the gradient? {figures['repeats']} tries at each place")
    return figure


def sentence(figures: study.Figures) -> str:
    """How many mistakes each check finds in every try, and how often it complains of a right gradient."""
    run = [row for row in figures["planted"] if "lost" in row]
    found, alarms = [], {}
    for check in (*CHECKS, *ours.DTYPES):
        outcomes = [[outcome(figures, row, check, place) for row in run] for place in PLACES[check]]
        found.append(f"{check} {'/'.join(str(o.count('right every time')) for o in outcomes)}")
        alarms[check] = sum(sum(row["complaints"][check].values()) for row in figures["rights"])
    tries = len(figures["rights"]) * figures["repeats"]
    return (
        f"{len(run)} of {len(figures['planted'])} mistakes run; "
        f"{sum(not row['complaints'][LOSS]['start'] for row in run)} of them let the loss fall every time, "
        f"{sum(row['lost'] < 1 for row in run)} cost less than a point of accuracy, and so many are found "
        f"every time at the start/trained/at zeros/drawn: {', '.join(found)}; ours names "
        f"{sum(bool(kind(row)) for row in run)} of the mistakes. False alarms in {tries} tries at each "
        f"place: {_listed(alarms)}."
    )


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count) or "none"
