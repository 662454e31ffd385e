"""What a run prints: a line per epoch under one heading, and what came out of it."""

from typing import Any

from rich.console import Console

Record = dict[str, Any]


class Table:
    """A table printed a line at a time, so that it is there whenever the run ends."""

    def __init__(self, console: Console, engines: list[str], layers: int) -> None:
        self._console = console
        pair = "/".join(engines)
        self._columns = [
            ("epoch", 5),
            (f"test loss {pair}", 9 * len(engines)),
            (f"accuracy {pair}", 8 * len(engines)),
        ]
        if len(engines) == 2:
            self._columns += [("gradient difference by layer", 8 * layers), ("|Δparams|", 9)]
        self._columns.append(("µs/step", 8 * len(engines)))
        self._widths = [max(len(title), width) for title, width in self._columns]

    def heading(self) -> None:
        """Print the titles."""
        titles = (title.rjust(w) for (title, _), w in zip(self._columns, self._widths, strict=True))
        self._print("  ".join(titles), style="bold")

    def row(self, record: Record) -> None:
        """Print the line of one epoch."""
        each = list(record["engines"].values())
        cells = [
            str(record["epoch"]),
            " ".join(f"{e['test_loss']:.6f}" for e in each),
            " ".join(f"{e['test_accuracy']:.4f}" for e in each),
        ]
        if record["gradient_difference"] is not None:
            cells.append(" ".join(f"{d:.1e}" for d in record["gradient_difference"]))
            cells.append(f"{record['parameter_distance']:.1e}")
        cells.append(" ".join(f"{e['us_per_step']:.1f}" for e in each))
        self._print("  ".join(c.rjust(w) for c, w in zip(cells, self._widths, strict=True)))

    def _print(self, line: str, style: str | None = None) -> None:
        self._console.print(line, style=style, highlight=False, soft_wrap=True)


def summary(metrics: Record) -> str:
    """The outcome in a few sentences."""
    parts = [
        f"{name}: test accuracy {100 * e['test_accuracy']:.2f}%, {e['us_per_step']:.1f} µs per step."
        for name, e in metrics["engines"].items()
    ]
    if metrics["max_gradient_difference"] is not None:
        parts.append(
            "The two gradients differ by at most "
            f"{metrics['max_gradient_difference']:.1e} of a layer's norm, the trained parameters by "
            f"{metrics['parameter_distance']:.1e}."
        )
    return "\n".join(parts)
