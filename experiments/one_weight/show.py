"""The paths of one weight in a table, and in a sentence."""

import re
from collections.abc import Iterable
from functools import partial

from rich.table import Table

from experiments.common import study
from manual_bp.textbook import paths

MOST_ROWS = 40
"""Paths that are printed in full; of more, half as many are printed."""

OTHERS = ("through", "product", "of sum")
"""The columns beside those of the factors."""

WIDTH, GAP = 80, 2
"""Of the table, and between two columns of it, in characters."""


def table(figures: study.Figures) -> Table:
    """One row for each path, the largest first; of many, half of `MOST_ROWS` and the sum of the others."""
    everything, total, depth = figures["paths"], figures["sum"], len(figures["widths"]) - 1
    lines = {
        f"sum over {number_of_paths(figures)}": "sum",
        "gradient by backpropagation": "backpropagation",
        "gradient by jax.grad": "autodiff",
        "largest difference": "difference",
    }
    hidden = "".join(f"h_{k}, " for k in range(figures["weight"][0], depth))
    shown = Table(
        title=f"Paths from {figures['name']} through {hidden}a_{depth}, ŷ to the loss",
        caption="\n".join(f"{name:<30}{figures[key]: .16g}" for name, key in lines.items()),
        caption_justify="left",
        box=None,
        pad_edge=False,
        min_width=54,
    )
    names = paths.factor_names(everything[0]["route"], figures["weight"], depth)
    general = (re.sub(r"(?<=ŷ)_\d+|,\d+", "", name) for name in names)  # the neurons are in the rows
    heads = [name.replace("/", "/\n") for name in general]
    printed = everything if len(everything) <= MOST_ROWS else everything[: MOST_ROWS // 2]
    cells = [[f"{value:.3g}" for value in path["factors"]] for path in printed]
    others = [
        (" ".join(map(str, path["route"])), f"{path['product']:.3g}", _share(path["product"], total))
        for path in printed
    ]
    across = _across([heads, *cells], WIDTH - sum(map(_widest, zip(*others, OTHERS, strict=True))) - 2 * GAP)
    stacked = partial(_stacked, across=across)
    for name in (OTHERS[0], *stacked(heads), *OTHERS[1:]):
        shown.add_column(name, justify="right", overflow="fold")
    for (route, *product), factors in zip(others, cells, strict=True):
        shown.add_row(route, *stacked(factors), *product)
    if more := len(everything) - len(printed):
        rest = sum(path["product"] for path in everything[len(printed) :])
        empty = [""] * across
        shown.add_row(f"{more:,} more", *empty, f"{rest:.3g}", _share(rest, total))
    return shown


def sentence(figures: study.Figures) -> str:
    """How many paths there are, how they cancel, and whether their sum is the gradient."""
    f, largest = figures, figures["paths"][0]["product"]
    return (
        f"{number_of_paths(f)} from {f['name']} to the loss, {f['not_zero']:,} not 0, "
        f"the largest {largest:.3g} ({_share(largest, f['sum'])} of the sum): the positive ones sum to "
        f"{f['positive']:.3g}, the negative ones to {f['negative']:.3g}, so that {f['cancelled']:.1%} "
        f"cancels; the sum, {f['sum']:.6g}, is the gradient by backpropagation and by jax.grad to within "
        f"{f['difference']:.1g}."
    )


def _across(rows: list[list[str]], room: int) -> int:
    """The most columns, each after a gap, in which all rows have room if what is left goes to lines below."""
    for number in range(len(rows[0]), 1, -1):
        widths = (_widest("\n".join(row[column::number]) for row in rows) for column in range(number))
        if sum(widths) + GAP * number <= room:
            return number
    return 1


def _stacked(cells: list[str], across: int) -> list[str]:
    return ["\n".join(cells[column::across]) for column in range(across)]


def _widest(cells: Iterable[str]) -> int:
    return max(len(line) for cell in cells for line in cell.split("\n"))


def _share(part: float, total: float) -> str:
    return f"{part / total + 0.0:.1%}" if total else "no share"


def number_of_paths(figures: study.Figures) -> str:
    """Such as "27 paths"."""
    return f"{len(figures['paths']):,} path" + "s" * (len(figures["paths"]) > 1)
