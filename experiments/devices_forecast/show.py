"""Table, picture and sentence: what a device sends and keeps, by kind and number of devices."""

from matplotlib.figure import Figure
from rich import box
from rich.table import Column, Table

from experiments.common import study

WHAT = ("sent", "params", "activations")
COLOURS = dict(zip(("data", "fsdp", "tensor", "sequence", "pipeline"),
                   ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#999999"), strict=True))  # fmt: skip


def table(figures: study.Figures) -> Table:
    """A row for each kind and number of devices."""
    shown = Table(
        Column("kind"),
        *(Column(what, justify="right", no_wrap=True) for what in ("devices", *WHAT)),
        box=box.SIMPLE_HEAD,
        show_edge=False,
        caption="Of one device, in float32: bytes that it sends in a step; memory of params with "
        "gradient and state of Adam; memory of what the blocks save. -: something does not divide by the "
        "devices.",
    )
    for kind, found in figures["kinds"].items():
        for i, (n, needs) in enumerate(zip(figures["devices"], found, strict=True)):
            amounts = ["-"] * 3 if needs is None else [_amount(needs[what]) for what in WHAT]
            shown.add_row(kind if i == 0 else "", f"{n:,}", *amounts)
        shown.add_section()
    return shown


def draw(figures: study.Figures) -> Figure:
    """What grows and what falls with the devices."""
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    for ax, what in zip(figure.subplots(1, 3), WHAT, strict=True):
        for kind, found in figures["kinds"].items():
            there = [(n, needs[what]) for n, needs in zip(figures["devices"], found, strict=True) if needs]
            ax.plot(*zip(*there, strict=True) if there else ((), ()), "o-", color=COLOURS[kind], label=kind)
        ax.set(title=what, xlabel="devices", xscale="log", yscale="log")
    figure.axes[0].set_ylabel("bytes of a device")
    figure.axes[0].legend(fontsize=8)
    return figure


def sentence(figures: study.Figures) -> str:
    """What parts of params save and cost at the most devices."""
    n, kinds = figures["devices"][-1], figures["kinds"]
    whole, parts = (kinds[kind][-1] for kind in ("data", "fsdp"))
    return (
        f"Of {figures['params']:,} params a device has {_amount(whole['params'])} with gradient and state "
        f"where each has all, and {_amount(parts['params'])} with fsdp on {n:,}, for "
        f"{parts['sent'] / max(whole['sent'], 1):.2f} times the bytes; its examples need "
        f"{_amount(whole['activations'])} of activations either way."
    )


def _amount(x: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if x >= size:
            return f"{x / size:.3g} {unit}"
    return f"{x:.3g} B"
