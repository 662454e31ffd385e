"""Table, picture and sentence: the ratios of each row, and the goals beside them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from rich import box
from rich.table import Column, Table

from experiments.common import study
from experiments.parallel_benchmark.row import BYTES, MEMORY, TIME

MEASURED = (BYTES, MEMORY, TIME)
COLOURS = {BYTES: "#0072B2", MEMORY: "#D55E00", TIME: "#009E73"}


class Ratio(NamedTuple):
    """By hand / opponent, and the goal where there is one."""

    row: str
    opponent: str
    what: str
    ratio: float | None
    goal: float | None

    @property
    def is_met(self) -> bool:
        """As it is printed: in hundredths."""
        return self.goal is not None and self.ratio is not None and round(self.ratio, 2) <= self.goal


def ratios(figures: study.Figures) -> Iterator[Ratio]:
    """All of them."""
    for row in figures["rows"]:
        for name, opponent in row["opponents"].items():
            for what, ratio in opponent["ratios"].items():
                yield Ratio(row["row"], name, what, ratio, opponent["goals"].get(what))


def table(figures: study.Figures) -> Table:
    """For each row what the hand-written side needs, and the ratios to its opponents."""
    shown = Table(
        Column("row, and its opponents", no_wrap=True),
        *(Column(what, justify="right", no_wrap=True) for what in MEASURED),
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
        caption="By hand, of a device in a step; then by hand / opponent, and the goal, with ! if missed. "
        "Memory is temporary memory.",
    )
    for row in figures["rows"]:
        shown.add_row(
            f"{row['row']}, {row['devices']} devices", *(_amount(what, row["hand"]) for what in MEASURED)
        )
        shown.add_row(f"  [dim]{row['size']}[/]", "", "", "")
        for name in row["opponents"]:
            found = {r.what: r for r in ratios({"rows": [row]}) if r.opponent == name}
            shown.add_row(f"  {name}", *(_ratio(found.get(what)) for what in MEASURED))
        shown.add_section()
    return shown


def draw(figures: study.Figures) -> Figure:
    """A bar for each ratio, and a mark at its goal."""
    found = [r for r in ratios(figures) if r.ratio is not None]
    figure = Figure(figsize=(9, 1 + 0.24 * len(found)), layout="constrained")
    ax = figure.subplots()
    for what, colour in COLOURS.items():
        places = [i for i, r in enumerate(found) if r.what == what]
        ax.barh(places, [found[i].ratio or 0 for i in places], 0.7, color=colour, label=what)
    goals = [(i, r.goal) for i, r in enumerate(found) if r.goal is not None]
    ax.plot([g for _, g in goals], [i for i, _ in goals], "k|", markersize=9, mew=2, label="goal")
    ax.axvline(1, color="#999999", lw=0.8)
    ax.set_yticks(range(len(found)), [f"{r.row}: {r.opponent}" for r in found], fontsize=8)
    ax.invert_yaxis()
    ax.set(xlabel="by hand / opponent", xscale="log")
    ax.legend(loc="lower left", fontsize=8)
    return figure


def sentence(figures: study.Figures) -> str:
    """How many goals are met, and which are not."""
    goals = [r for r in ratios(figures) if r.goal is not None]
    missed = [r for r in goals if not r.is_met]
    worst = max(row["error"] / row["tolerance"] for row in figures["rows"])
    said = f"{len(goals) - len(missed)} of {len(goals)} goals are met"
    if missed:
        said += "; not " + ", ".join(
            f"{r.row} {r.what} against {r.opponent} ({_number(r.ratio)}, goal {r.goal})" for r in missed
        )
    return f"{said}; in float64 every side is the gradient of one device, at {worst:.2g} of the tolerance."


def _ratio(found: Ratio | None) -> str:
    if found is None:
        return ""
    if found.goal is None:
        return _number(found.ratio)
    return f"{_number(found.ratio)} ({found.goal}{'' if found.is_met else '!'})"


def _number(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"


def _amount(what: str, hand: dict[str, Any]) -> str:
    if what not in hand:
        return ""
    return f"{1e3 * hand[what]:.3g} ms" if what == TIME else f"{hand[what] / 1e6:.3g} MB"
