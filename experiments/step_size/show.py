"""Table, picture and sentence of the step size."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich import box
from rich.table import Table

from experiments.common import study

COLOURS = {"forward": "#D55E00", "central": "#0072B2", "complex step": "#009E73"}


def table(figures: study.Figures) -> Table:
    """The best steps above, the kinks below."""
    said = "Error: the median over directions, at the best and the textbook's step. Order: beyond the best."
    best = Table(caption=said, box=box.SIMPLE)
    for column in ("dtype", "difference", "best step", "in theory", "error", "textbook", "order"):
        best.add_column(column)
    for dtype, methods in figures["errors"].items():
        for method, f in methods.items():
            below = "< " if method == "complex step" else "  "
            steps = [f"{below}{f[name]:.1e}" for name in ("best_step", "theory_step")]
            order = "" if f["order"] is None else f"{f['order']:.2f}"
            best.add_row(dtype, method, *steps, f"{f['best_error']:.1e}", f"{f['textbook_error']:.1e}", order)
        best.add_section()
    said = "Per cent: directions that meet a kink. Below: the median and the 95% quantile of the error."
    steps = (f"{step:.0e}" for step in figures["kink_steps"])
    relu = Table("relu, float64, h =", *steps, caption=said, box=box.SIMPLE, padding=(0, 1, 0, 0))
    for size, f in figures["kinks"].items():
        cells = zip(f["crossing"], f["median_error"], f["error_95"], strict=True)
        said = f"examples: {size}\nmedian error\n95% error"
        relu.add_row(said, *(f"{c:.1%}\n{d:.0e}\n{q:.0e}" for c, d, q in cells), end_section=True)
    both = Table.grid(padding=(1, 0))
    both.add_row(best)
    both.add_row(relu)
    return both


def draw(figures: study.Figures) -> Figure:
    """The curves of both dtypes above, the kinks below."""
    figure = Figure(figsize=(11, 10), layout="constrained")
    smooth, kinked = figure.subfigures(2, 1, squeeze=False)[:, 0]
    axes = np.stack([smooth.subplots(1, 2), kinked.subplots(1, 2)])
    for ax, (dtype, methods) in zip(axes[0], figures["errors"].items(), strict=True):
        for method, f in methods.items():
            ax.loglog(figures["steps"], f["error"], color=COLOURS[method], linewidth=2, label=method)
            ax.loglog(figures["steps"], f["theory"], ":", color=COLOURS[method])
            ax.loglog(f["best_step"], f["best_error"], "o", color=COLOURS[method], markersize=7)
        ax.plot([], [], "k:", label="theory")
        ax.set(title=f"sigmoid, {dtype}", xlabel="step h", xlim=(1e-18, 30), ylim=(1e-17, 1e2))
        ax.set_ylabel("median error / RMS of f'")
    _against_examples(axes[1, 0], figures, "crossing", "o-")
    _against_examples(axes[1, 0], figures, "crossing_theory", ":")
    axes[1, 0].plot([], [], "k:", label="theory")
    axes[1, 0].set(title="relu: steps $\\pm$h that meet a kink", ylabel="fraction of directions")
    _against_examples(axes[1, 1], figures, "error_95", "o-")
    axes[1, 1].set(title="relu: central differences in float64", yscale="log")
    axes[1, 1].set_ylabel("95% quantile of error / RMS of f'")
    for ax in axes.flat:
        ax.grid(alpha=0.3)
    for part, ax in ((smooth, axes[0, 0]), (kinked, axes[1, 0])):
        handles, labels = ax.get_legend_handles_labels()
        part.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    return figure


def _against_examples(ax: Axes, figures: study.Figures, name: str, style: str) -> None:
    for i, step in enumerate(figures["kink_steps"]):
        colour = colormaps["viridis"](0.9 * i / max(len(figures["kink_steps"]) - 1, 1))
        values = [f[name][i] for f in figures["kinks"].values()]
        label = None if style == ":" else f"h = {step:.0e}"
        ax.plot(list(map(int, figures["kinks"])), values, style, color=colour, label=label)
    ax.set_xscale("log", base=2)
    ax.set_xlabel("examples that the loss averages over")


def sentence(figures: study.Figures) -> str:
    """The best steps, and the kinks at the step where they depend most on the number of examples."""
    said = ""
    for dtype, f in figures["errors"].items():
        best, flat = f["central"], f["complex step"]["error"][-1]
        said += (
            f"In {dtype} central differences are right to {best['best_error']:.0e} with their best step, "
            f"{best['best_step']:.1e}, and to {best['textbook_error']:.0e} with the textbook's, eps^(1/3); "
            f"complex steps to {flat:.0e}. "
        )
    few, many = (choose(figures["kinks"], key=int) for choose in (min, max))
    less, more = (figures["kinks"][size]["crossing"] for size in (few, many))
    i = int(np.argmax(np.subtract(more, less)))
    return said + (
        f"With relu and h = {figures['kink_steps'][i]:.0e} a kink is met by {less[i]:.1%} of the directions "
        f"for a loss over {few}, by {more[i]:.1%} for one over {many} examples."
    )
