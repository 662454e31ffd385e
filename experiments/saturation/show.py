"""Table, picture and sentence of saturation: dashed lines are the easy start, colours are costs."""

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich import box
from rich.table import Column, Table

from experiments.common import study

STYLES = {"easy": "--", "bad": "-"}
COLOURS = {"quadratic": "#D55E00", "cross-entropy": "#0072B2"}


def table(figures: study.Figures) -> Table:
    """One row for each start and cost of the neuron, then of the network."""
    columns = ("epochs", "s'(z)\nat first", "gradient,\nfirst/\nlargest", "deltas\nat first,\nby layer")
    shown = Table(
        *(Column(name, no_wrap=True) for name in ("", "start", "cost")),
        *(Column(name, justify="right") for name in columns),
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
        caption="Epochs: neuron, output below 0.9 / 0.5; network, all mean outputs below 0.9 / accuracy 90% "
        "(runs that came there). Gradient: |dC/dw| of the neuron, the network's output delta. Deltas: norms.",
    )
    for start, cost, f in _rows(figures["neuron"]):
        epochs = f"{_shown(f['epochs_to_0.9'])} / {_shown(f['epochs_to_0.5'])}"
        shown.add_row("neuron", start, cost, epochs, f"{f['slope']:.2g}", f"{f['first_gradient']:.1%}")
    shown.add_section()
    for start, cost, f in _rows(figures["network"]):
        epochs = f"{_shown(f['epochs_to_0.9'])} / {_shown(f['epochs_to_goal'])} ({f['reached_goal']})"
        slope, norms = f"{f['slope'][0]:.2g}", "  ".join(f"{layer[0]:.1e}" for layer in f["delta"])
        shown.add_row("network", start, cost, epochs, slope, f"{f['first_gradient']:.1%}", norms)
    return shown


def draw(figures: study.Figures) -> Figure:
    """The neuron above, the networks below; colours are costs."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    (output, gradient), (accuracy, delta) = figure.subplots(2, 2)
    _curves(output, figures["neuron"], lambda f: f["output"])
    output.set(title="One neuron: output (target 0)", ylabel="output a")
    _curves(gradient, figures["neuron"], lambda f: np.divide(f["gradient"], max(f["gradient"])))
    gradient.set(title="One neuron: gradient", ylabel="|dC/dw| / its largest")
    _curves(accuracy, figures["network"], lambda f: np.transpose(f["accuracy"]))
    accuracy.set(title="Network: training accuracy, all initialisations", ylabel="fraction right")
    for cost, f in figures["network"]["bad"].items():
        for layer, norms in enumerate(f["delta"], start=1):
            width = 3 * layer / len(f["delta"])
            delta.plot(norms, color=COLOURS[cost], linewidth=width, label=f"{cost}, layer {layer}")
    delta.set(title="Network: deltas from the bad start", ylabel="norm, RMS over examples", yscale="log")
    delta.legend()
    for ax in figure.axes:
        ax.set(xlabel="epoch", xlim=(0, None))
        ax.grid(alpha=0.3)
    figure.legend(*output.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def _curves(ax: Axes, by_start: study.Figures, values: Callable[[study.Figures], Any]) -> None:
    for start, cost, f in _rows(by_start):
        ax.plot(values(f), STYLES[start], color=COLOURS[cost], label=f"{cost}, {start} start")


def _rows(by_start: study.Figures) -> list[tuple[str, str, study.Figures]]:
    return [(start, cost, f) for start, by_cost in by_start.items() for cost, f in by_cost.items()]


def sentence(figures: study.Figures) -> str:
    """What the bad starts cost, and what the deltas were there."""
    network = figures["network"]["bad"]
    found = [
        f"{_shown(f['epochs_to_0.9'])} and {_shown(network[cost]['epochs_to_0.9'])} with the {cost} cost, "
        f"the neuron's gradient beginning at {f['first_gradient']:.0%} of its largest"
        for cost, f in figures["neuron"]["bad"].items()
    ]
    error = max(f["quotient_error"] for _, _, f in _rows(figures["network"]))
    return (
        f"Epochs until a badly started neuron's and network's outputs are below 0.9: {'; '.join(found)}. "
        f"The quotient of the network's output deltas is s'(z) to within {error:.0e}."
    )


def _shown(epochs: float | None) -> str:
    return "never" if epochs is None else f"{epochs:g}"
