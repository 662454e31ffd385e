"""The paths of one weight in a table, and in a sentence."""

import re

from rich.table import Table

from experiments.common import study
from manual_bp.textbook import paths

MOST_ROWS = 40
"""Paths that are printed in full; of more, half as many are printed."""


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
    factors = paths.factor_names(everything[0]["route"], figures["weight"], depth)
    general = (re.sub(r"(?<=ŷ)_\d+|,\d+", "", name) for name in factors)  # the neurons are in the rows
    for name in ("through", *(name.replace("/", "/\n") for name in general), "product", "of sum"):
        shown.add_column(name, justify="right", overflow="fold")
    printed = everything if len(everything) <= MOST_ROWS else everything[: MOST_ROWS // 2]
    for path in printed:
        values = (f"{value:.3g}" for value in (*path["factors"], path["product"]))
        shown.add_row(" ".join(map(str, path["route"])), *values, _share(path["product"], total))
    if more := len(everything) - len(printed):
        rest = sum(path["product"] for path in everything[len(printed) :])
        shown.add_row(f"{more:,} more", *[""] * len(factors), f"{rest:.3g}", _share(rest, total))
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


def _share(part: float, total: float) -> str:
    return f"{part / total + 0.0:.1%}" if total else "no share"


def number_of_paths(figures: study.Figures) -> str:
    """Such as "27 paths"."""
    return f"{len(figures['paths']):,} path" + "s" * (len(figures["paths"]) > 1)
