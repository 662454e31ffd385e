"""What a run prints: a line per round under one heading, and what came out of it."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from experiments.common.console import say
from experiments.train import speed
from experiments.train.recipe import Metric

Record = dict[str, Any]

FEW_IN_A_ROW = 2
"""Parts whose gradient differences stand beside each other; of more, the largest, so that a line has 80."""

LONGEST_WORD = 10
"""No title is narrower, so that none of its words is broken."""


class Table:
    """A table printed a line at a time, so that it is there whenever the run ends."""

    def __init__(
        self,
        console: Console,
        unit: str,
        engines: Sequence[str],
        shown: Mapping[str, Metric],
        parts: Sequence[str],
    ) -> None:
        self._console, self._shown, self._parts = console, shown, parts
        self._few = len(parts) <= FEW_IN_A_ROW
        columns = [(unit, 5)]
        columns += [
            (metric.title, (len(metric.column.format(0)) + 1) * len(engines) - 1) for metric in shown.values()
        ]
        if len(engines) == 2:
            title = "gradient difference by layer" if self._few else "largest gradient difference"
            width = 8 * len(parts) - 1 if self._few else 8 + max(map(len, parts))
            columns += [(title, width), ("params apart", 7)]
        columns.append(("µs/step", 6 * len(engines) - 1))
        self._pair = " and ".join(engines) if len(engines) == 2 else ""
        self._titles = [textwrap.wrap(title, max(width, LONGEST_WORD)) for title, width in columns]
        self._widths = [
            max(width, *map(len, title)) for title, (_, width) in zip(self._titles, columns, strict=True)
        ]

    def heading(self) -> None:
        """Print the titles, each in as many lines as its column is narrow."""
        if self._pair:
            say(self._console, f"Of each pair of numbers: {self._pair}.")
        lines = max(map(len, self._titles))
        for titles in zip(*([""] * (lines - len(title)) + title for title in self._titles), strict=True):
            self._print(titles, style="bold")

    def row(self, record: Record) -> None:
        """Print the line of one round, and what was sampled after it."""
        each = list(record["engines"].values())
        cells = [str(record["epoch"])]
        for name, metric in self._shown.items():
            cells.append(" ".join(metric.column.format(e[name]) for e in each))
        if record["gradient_difference"] is not None:
            cells.append(self._differences(record["gradient_difference"]))
            cells.append(f"{record['parameter_distance']:.1e}")
        cells.append(" ".join(_time(e["us_per_step"]) for e in each))
        self._print(cells)
        if "sample" in record:
            say(self._console, record["sample"], style="dim")

    def _print(self, cells: Sequence[str], style: str | None = None) -> None:
        aligned = (cell.rjust(width) for cell, width in zip(cells, self._widths, strict=True))
        say(self._console, "  ".join(aligned), style=style)

    def _differences(self, differences: list[float]) -> str:
        if self._few:
            return " ".join(f"{d:.1e}" for d in differences)
        largest = max(range(len(differences)), key=differences.__getitem__)
        return f"{differences[largest]:.1e} {self._parts[largest]}"


def _time(microseconds: float) -> str:
    return f"{microseconds:.1f}" if microseconds < 1000 else f"{microseconds:.0f}"


def summary(metrics: Record, shown: Mapping[str, Metric], unit: str) -> str:
    """The outcome in a few sentences."""
    parts = []
    for name, e in metrics["engines"].items():
        said = [metric.sentence.format(e[key]) for key, metric in shown.items() if metric.sentence]
        said += [f"{e['us_per_step']:.1f} µs per step", *speed.said(e)]
        parts.append(f"{name}: {', '.join(said)}.")
    if metrics["max_gradient_difference"] is not None:
        parts.append(
            "The two gradients differ by at most "
            f"{metrics['max_gradient_difference']:.1e} of a layer's norm, the trained parameters by "
            f"{metrics['parameter_distance']:.1e}."
        )
    parts.append(_of_speed(len(metrics["history"]), len(metrics["engines"]), unit))
    return "\n".join(parts)


def _of_speed(rounds: int, engines: int, unit: str) -> str:
    if rounds == 1:
        return f"The time per step is that of {unit} 1, which warms up."
    which = f"the median of {unit}s 2 to {rounds}" if rounds > 2 else f"that of {unit} 2"
    turns = "; the engines take turns at going first" if engines == 2 else ""
    return f"The time per step is {which}{turns}."
