"""What a run prints: a line per round under one heading, and what came out of it."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from experiments.common.console import say
from experiments.train.parts import FEW
from experiments.train.recipe import Metric

Record = dict[str, Any]


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
        pair = "/".join(engines)
        columns = [(unit, 5)]
        columns += [
            (f"{metric.title} {pair}", (len(metric.column.format(0)) + 1) * len(engines))
            for metric in shown.values()
        ]
        if len(engines) == 2:
            title = "gradient difference by layer" if len(parts) <= FEW else "largest gradient difference"
            width = 8 * len(parts) if len(parts) <= FEW else 8 + max(map(len, parts))
            columns += [(title, width), ("|Δparams|", 9)]
        columns.append(("µs/step", 8 * len(engines)))
        self._titles = [title for title, _ in columns]
        self._widths = [max(len(title), width) for title, width in columns]

    def heading(self) -> None:
        """Print the titles."""
        titles = (title.rjust(w) for title, w in zip(self._titles, self._widths, strict=True))
        say(self._console, "  ".join(titles), style="bold")

    def row(self, record: Record) -> None:
        """Print the line of one round, and what was sampled after it."""
        each = list(record["engines"].values())
        cells = [str(record["epoch"])]
        for name, metric in self._shown.items():
            cells.append(" ".join(metric.column.format(e[name]) for e in each))
        if record["gradient_difference"] is not None:
            cells.append(self._differences(record["gradient_difference"]))
            cells.append(f"{record['parameter_distance']:.1e}")
        cells.append(" ".join(f"{e['us_per_step']:.1f}" for e in each))
        say(self._console, "  ".join(c.rjust(w) for c, w in zip(cells, self._widths, strict=True)))
        if "sample" in record:
            say(self._console, record["sample"], style="dim")

    def _differences(self, differences: list[float]) -> str:
        if len(differences) <= FEW:
            return " ".join(f"{d:.1e}" for d in differences)
        largest = max(range(len(differences)), key=differences.__getitem__)
        return f"{differences[largest]:.1e} {self._parts[largest]}"


def summary(metrics: Record, shown: Mapping[str, Metric], unit: str) -> str:
    """The outcome in a few sentences."""
    parts = []
    for name, e in metrics["engines"].items():
        said = [metric.sentence.format(e[key]) for key, metric in shown.items() if metric.sentence]
        parts.append(f"{name}: {', '.join(said)}, {e['us_per_step']:.1f} µs per step.")
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
