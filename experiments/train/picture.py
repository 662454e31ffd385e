"""The picture of a run."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

STYLES = {"manual": ("C0", "-", "hand-written"), "autodiff": ("C1", "--", "jax.grad")}


def draw(path: Path, history: list[dict[str, Any]], title: str, dtype: str) -> None:
    """Loss and accuracy of each engine, gradient norm by layer, and agreement by layer."""
    figure, axes = plt.subplots(2, 2, figsize=(11, 7.5), layout="constrained")
    figure.suptitle(title)
    epochs = [record["epoch"] for record in history]
    _by_engine(axes[0, 0], history, {"train_loss": 0.4, "test_loss": 1.0})
    axes[0, 0].set(title="Loss", ylabel="mean loss", yscale="log")
    _by_engine(axes[0, 1], history, {"test_accuracy": 1.0})
    axes[0, 1].set(title="Accuracy", ylabel="fraction of test examples right")
    _by_layer(axes[1, 0], epochs, [record["gradient_norm"] for record in history])
    axes[1, 0].set(title="Gradient norm by layer", ylabel="Euclidean norm over a fixed batch", yscale="log")
    _agreement(axes[1, 1], epochs, [record["gradient_difference"] for record in history], dtype)
    for ax in axes.flat:
        ax.set_xlabel("epoch")
        ax.grid(alpha=0.3)
        ax.xaxis.get_major_locator().set_params(integer=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _by_engine(ax: Axes, history: list[dict[str, Any]], keys: dict[str, float]) -> None:
    for key, alpha in keys.items():
        for engine in history[0]["engines"]:
            colour, line, label = STYLES[engine]
            values = [record["engines"][engine][key] for record in history]
            part = key.partition("_")[0]
            ax.plot(
                [record["epoch"] for record in history], values, line, color=colour, alpha=alpha,
                linewidth=3 if engine == "manual" else 1.5, label=f"{label}, {part}",
            )  # fmt: skip
    ax.legend()


def _by_layer(ax: Axes, epochs: list[int], rows: list[list[float]]) -> None:
    marker = "o" if len(epochs) == 1 else None
    for layer, values in enumerate(zip(*rows, strict=True), start=1):
        ax.plot(epochs, values, marker=marker, label=f"layer {layer}")
    ax.legend()


def _agreement(ax: Axes, epochs: list[int], rows: list[Any], dtype: str) -> None:
    ax.set(title="Agreement of the two gradients by layer", ylabel="relative difference (norm)")
    if rows[0] is None:
        ax.text(0.5, 0.5, "one engine only", ha="center", va="center", transform=ax.transAxes)
        return
    eps = float(jnp.finfo(dtype).eps)
    floor = eps / 100  # a difference of zero has no logarithm
    _by_layer(ax, epochs, [[max(d, floor) for d in row] for row in rows])
    ax.axhline(eps, color="grey", linestyle=":", label=f"{dtype} rounding, {eps:.0e}")
    ax.set_yscale("log")
    ax.legend()
