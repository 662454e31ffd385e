"""Table, picture and sentence: what each kind sends by hand, by jax.grad and by automatic sharding."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich import box
from rich.table import Column, Table

from experiments.common import study

COLOURS = {"hand": "#0072B2", "jax.grad": "#D55E00", "automatic": "#999999"}
SHORT = {
    "all-reduce": "sum",
    "all-gather": "gather",
    "reduce-scatter": "scatter",
    "all-to-all": "exchange",
    "collective-permute": "shift",
}


def table(figures: study.Figures) -> Table:
    """A row for each kind and side."""
    shown = Table(
        *(Column(name, no_wrap=True) for name in ("kind", "side")),
        *(Column(name, justify="right") for name in ("error", "collectives", "bytes sent", "memory")),
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
        caption="Error: against one device, the worst leaf on any. Of a device: collectives that run, bytes "
        "that it sends, temporary memory.",
    )
    for name, kind in figures["kinds"].items():
        for side, found in kind["sides"].items():
            first = side == "hand"
            shown.add_row(
                name if first else "",
                side,
                f"{kind['error']:.0e}" if first else "",
                "\n".join(f"{count} {SHORT[what]}" for what, count in found["collectives"].items()) or "none",
                f"{found['bytes']:,.0f}",
                f"{found['memory']:,}",
            )
        shown.add_section()
    return shown


def draw(figures: study.Figures) -> Figure:
    """Bytes by kind and side, and the ticks of the pipeline where there is one."""
    panels = 2 if figures["ticks"] else 1
    figure = Figure(figsize=(9, 3.6 * panels), layout="constrained")
    above, *below = figure.subplots(panels, 1, squeeze=False)[:, 0]
    kinds = list(figures["kinds"])
    for place, side in enumerate(COLOURS):
        found = [figures["kinds"][kind]["sides"].get(side, {}).get("bytes", 0) for kind in kinds]
        above.bar(np.arange(len(kinds)) + 0.27 * (place - 1), found, 0.25, color=COLOURS[side], label=side)
    above.set(title=f"Bytes that one of {figures['devices']} devices sends", xticks=range(len(kinds)))
    above.set_xticklabels(kinds)
    above.legend()
    for ax in below:
        _ticks(ax, figures["ticks"])
    return figure


def _ticks(ax: Any, ticks: list[dict[str, Any]]) -> None:
    """A column for each tick, a row for each stage: the forward left, the backward right, by microbatch."""
    stages = len(ticks[0]["forward"])
    for t, tick in enumerate(ticks):
        for half, what in enumerate(("forward", "backward")):
            for s, m in enumerate(tick[what]):
                if m is not None:
                    colour = COLOURS["hand" if what == "forward" else "jax.grad"]
                    ax.barh(s, 0.45, left=t + 0.48 * half, color=colour, alpha=0.85)
                    ax.text(
                        t + 0.48 * half + 0.22, s, str(m), ha="center", va="center", fontsize=7, color="white"
                    )
    ax.set(title="Pipeline: forward (blue) and backward of each microbatch", xlabel="tick", ylabel="stage")
    ax.set(yticks=range(stages), xlim=(0, len(ticks)), ylim=(stages - 0.5, -0.5))


def sentence(figures: study.Figures) -> str:
    """The worst error, and the bytes and the memory of the hand-written side against the others'."""
    kinds = figures["kinds"]
    worst = max(kind["error"] for kind in kinds.values())
    memory = [k["sides"]["hand"]["memory"] / k["sides"]["jax.grad"]["memory"] for k in kinds.values()]
    compared = []
    for name, kind in kinds.items():
        hand = kind["sides"]["hand"]["bytes"]
        others = [
            f"{hand / found['bytes']:.2f} of {side}'s"
            for side, found in kind["sides"].items()
            if side != "hand" and found["bytes"]
        ]
        compared.append(f"{name} {' and '.join(others)}" if others else name)
    return (
        f"On {figures['devices']} devices every gradient is that of one device to within {worst:.0e}; bytes "
        f"sent by hand: {'; '.join(compared)}; temporary memory {min(memory):.2f} to {max(memory):.2f} of "
        "jax.grad's."
    )
