"""Table, picture and sentence of the gradient on real weights."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich import box
from rich.table import Table

from experiments.common import study
from experiments.real_gpt2.leaves import EXACT, ROUNDING, is_right

COLOURS = {"float64": "#0072B2", "float32": "#D55E00", "autodiff_float32": "#757575"}
LABELS = {
    "float64": "by hand, float64",
    "float32": "by hand, float32",
    "autodiff_float32": "jax.grad, float32",
}

LEAST = 1e-17
"""Where a smaller error, such as 0, is drawn."""


def table(figures: study.Figures) -> Table:
    """A row for each leaf, with the largest errors of its layers; the losses; and the texts."""
    whole = Table.grid()
    for part in (_leaves(figures), _losses(figures), _samples(figures)):
        whole.add_row(part)
    return whole


def _leaves(figures: study.Figures) -> Table:
    part = _part("Error of each leaf, the largest of its layers", "leaf", "of one layer", "norm")
    for head in ("float64", "float32", "jax.grad\nfloat32"):
        part.add_column(head, justify="right")
    for leaf, rows in _by_leaf(figures).items():
        shape = "x".join(map(str, rows[0]["shape"]))
        norm = f"{max(row['norm'] for row in rows):.1e}"
        errors = (f"{max(row[name] for row in rows):.1e}" for name in COLOURS)
        part.add_row(leaf, shape, norm, *errors)
    return part


def _losses(figures: study.Figures) -> Table:
    losses = figures["losses"]
    part = _part(f"Nats per token, of {figures['targets']:,} tokens", "texts", "by hand", "jax.grad")
    for name in ("float64", "float32"):
        by_both = (f"{losses[f'{way}_{name}']:.9f}" for way in ("manual", "autodiff"))
        part.add_row(f"drawn, in {name}", *by_both)
    part.add_row("shuffled, in float32", "", f"{figures['shuffled']:.4f}")
    part.add_row("any token as likely", "", f"{figures['uniform']:.4f}")
    return part


def _samples(figures: study.Figures) -> Table:
    part = _part("Texts drawn with a cache of keys and values", "tokens", "different", "first")
    part.columns[0].justify = "right"
    for sample in figures["samples"]:
        part.add_row(str(sample["tokens"]), str(sample["distinct"]), " ".join(sample["first"]))
    part.columns[2].justify = "left"
    return part


def _part(title: str, first: str, *heads: str) -> Table:
    part = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    part.add_column(first)
    for head in heads:
        part.add_column(head, justify="right")
    return part


def _by_leaf(figures: study.Figures) -> dict[str, list[Any]]:
    """The rows of all layers by the name of the leaf."""
    found: dict[str, list[Any]] = {}
    for row in figures["leaves"]:
        found.setdefault(row["leaf"], []).append(row)
    return found


def draw(figures: study.Figures) -> Figure:
    """A dot for each layer of each leaf, by hand in both dtypes and by jax.grad in float32."""
    by_leaf = _by_leaf(figures)
    figure = Figure(figsize=(9, 1.6 + 0.32 * len(by_leaf)), layout="constrained")
    ax = figure.subplots()
    for name, shift in zip(COLOURS, (0, -0.17, 0.17), strict=True):
        points = [
            (max(row[name], LEAST), place + shift)
            for place, rows in enumerate(by_leaf.values())
            for row in rows
        ]
        ax.plot(*zip(*points, strict=True), ".", color=COLOURS[name], alpha=0.6, label=LABELS[name])
    for dtype in (np.float64, np.float32):
        ax.axvline(float(np.finfo(dtype).eps), color="#757575", linestyle=":", zorder=0)
    ax.axvline(EXACT, color="#0072B2", linestyle="--", linewidth=1, zorder=0)
    ax.set_yticks(range(len(by_leaf)), list(by_leaf))
    ax.set(xscale="log", ylim=(len(by_leaf) - 0.4, -0.6))
    ax.set_xlabel("error of a leaf of a layer (dotted: eps of the dtypes; dashed: what float64 may have)")
    ax.set_title(f"{len(figures['leaves'])} leaves on trained weights: {figures['model']}")
    ax.grid(axis="x", alpha=0.3)
    ax.legend(loc="upper center", fontsize=9)
    return figure


def sentence(figures: study.Figures) -> str:
    """Whether all leaves are right, how far the worst is off, and what a token costs."""
    rows, losses = figures["leaves"], figures["losses"]
    largest = {name: max(row[name] for row in rows) for name in COLOURS}
    ratio = max(row["float32"] / max(row["autodiff_float32"], ROUNDING) for row in rows)
    return (
        f"On the {figures['params']:,} trained params of {figures['model']} {_verdict(rows)}: the largest "
        f"error is {largest['float64']:.0e} in float64, and in float32 {largest['float32']:.0e}, in no leaf "
        f"more than {ratio:.1f} times that of jax.grad; a token of its own texts costs "
        f"{losses['manual_float32']:.3f} nats, in another order {figures['shuffled']:.3f}, and one that is "
        f"as likely as any other {figures['uniform']:.3f}."
    )


def _verdict(rows: list[Any]) -> str:
    wrong = [row for row in rows if not is_right(row)]
    if not wrong:
        return f"all {len(rows)} leaves of the gradient are right"
    worst = max(wrong, key=lambda row: (row["float64"] > EXACT, row["float64"], row["float32"]))
    layer = "" if worst["layer"] is None else f" of layer {worst['layer']}"
    return f"{len(wrong)} of {len(rows)} leaves of the gradient are WRONG, most of all {worst['leaf']}{layer}"
