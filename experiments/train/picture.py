"""The picture of a run: its loss and other metrics, and the two gradients part by part."""

import textwrap
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import jax.numpy as jnp
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import MaxNLocator

from experiments.train.parts import FEW
from experiments.train.recipe import Metric

STYLES = {"manual": ("C0", "-", "hand-written"), "autodiff": ("C1", "--", "jax.grad")}

History = list[dict[str, Any]]


def draw(
    file: BinaryIO,
    history: History,
    *,
    title: str,
    unit: str,
    shown: Mapping[str, Metric],
    parts: Sequence[str],
    dtype: str,
) -> None:
    """Loss and metrics of each engine, gradient norm and agreement by part, and the last sample."""
    loss, *others = shown
    sampled = "sample" in history[-1]
    panels = 3 + len(others) + sampled
    rows = (panels + 1) // 2
    figure, grid = plt.subplots(rows, 2, figsize=(11, 3.75 * rows), layout="constrained", squeeze=False)
    figure.suptitle(title)
    axes = iter(grid.flat)
    _by_engine(ax := next(axes), history, {"train_loss": 0.4, loss: 1.0})
    ax.set(title="Loss", ylabel=shown[loss].axis, xlabel=unit)
    _logarithmic(ax)
    for name in others:
        _by_engine(ax := next(axes), history, {name: 1.0})
        ax.set(title=shown[name].title.capitalize(), ylabel=shown[name].axis, xlabel=unit)
    norms = np.array([record["gradient_norm"] for record in history])
    _by_part(ax := next(axes), history, norms, parts, "Euclidean norm over a fixed batch")
    ax.set(title="Gradient norm by layer", xlabel=unit)
    _agreement(ax := next(axes), history, parts, dtype)
    ax.set(title="Agreement of the two gradients by layer", xlabel=unit)
    if sampled:
        _text(ax := next(axes), history[-1]["sample"])
        ax.set(title=f"Sample after {unit} {history[-1]['epoch']}")
    for ax in axes:
        ax.set_axis_off()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a sample may be in any script
        figure.savefig(file, format="png", dpi=120)
    plt.close(figure)


def _by_engine(ax: Axes, history: History, keys: dict[str, float]) -> None:
    for key, alpha in keys.items():
        for engine in history[0]["engines"]:
            colour, line, label = STYLES[engine]
            values = [record["engines"][engine][key] for record in history]
            part = key.partition("_")[0]
            ax.plot(
                _numbers(history), values, line, color=colour, alpha=alpha,
                marker=_marker(history), markersize=9 if engine == "manual" else 5,
                linewidth=3 if engine == "manual" else 1.5, label=f"{label}, {part}",
            )  # fmt: skip
    ax.legend()
    _whole_numbers(ax)


def _by_part(ax: Axes, history: History, values: np.ndarray, parts: Sequence[str], label: str) -> None:
    """A line for each part, or of many a heat map; `values` are (rounds, parts), and `label` is theirs."""
    if len(parts) > FEW:
        positive = np.where(values > 0, values, np.nan)
        edges = np.arange(len(history) + 1) + 0.5, np.arange(len(parts) + 1) - 0.5
        norm = LogNorm() if np.any(np.isfinite(positive)) else None
        mesh = ax.pcolormesh(*edges, positive.T, norm=norm)
        every = -(-len(parts) // 20)
        ax.set_yticks(range(0, len(parts), every), parts[::every], fontsize=7)
        ax.invert_yaxis()
        ax.figure.colorbar(mesh, ax=ax, label=label)
    else:
        for name, line in zip(_labels(parts), values.T, strict=True):
            ax.plot(_numbers(history), line, marker=_marker(history), label=name)
        ax.set(ylabel=label)
        _logarithmic(ax)
        ax.legend()
        _whole_numbers(ax)


def _agreement(ax: Axes, history: History, parts: Sequence[str], dtype: str) -> None:
    rows = [record["gradient_difference"] for record in history]
    if rows[0] is None:
        ax.text(0.5, 0.5, "one engine only", ha="center", va="center", transform=ax.transAxes)
        return
    eps = float(jnp.finfo(dtype).eps)
    floor = eps / 100  # a difference of zero has no logarithm
    _by_part(ax, history, np.maximum(np.array(rows), floor), parts, "relative difference (norm)")
    if len(parts) <= FEW:
        ax.axhline(eps, color="grey", linestyle=":", label=f"{dtype} rounding, {eps:.0e}")
        ax.legend()


def _text(ax: Axes, text: str) -> None:
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, 60) or [""]]
    ax.text(
        0,
        1,
        "\n".join(lines[:16]),
        va="top",
        family="monospace",
        fontsize=8,
        transform=ax.transAxes,
        parse_math=False,
    )
    ax.set_axis_off()


def _labels(parts: Sequence[str]) -> list[str]:
    """`layer 1` for `layers.0`, and other names as they are."""
    return [
        f"layer {int(name.removeprefix('layers.')) + 1}" if name.startswith("layers.") else name
        for name in parts
    ]


def _marker(history: History) -> str | None:
    """A mark at each round while they are few: one of them alone makes no line."""
    return "o" if len(history) <= 5 else None


def _logarithmic(ax: Axes) -> None:
    """A logarithmic axis, if anything can be shown on one."""
    values = np.concatenate([np.asarray(line.get_ydata(), np.float64) for line in ax.lines])
    if np.any(np.isfinite(values) & (values > 0)):
        ax.set_yscale("log")


def _numbers(history: History) -> list[int]:
    return [record["epoch"] for record in history]


def _whole_numbers(ax: Axes) -> None:
    ax.grid(alpha=0.3)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
