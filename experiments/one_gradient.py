r"""Are the gradients of five notes on backpropagation one gradient, and what does each form of it cost?

`experiments.one_gradient_ways` has the gradients, their multiplications and the difference of two. Why does
nobody sum over paths? With all widths n, the vector form and the index form of L layers multiply

    (3 L - 1) n^2                                                                           (1)

times for the whole gradient, while a single weight of the first layer has with softmax, or without it,

    n^L  or  n^(L-1)                                                                        (2)

paths: a higher power of the width, and exponential in the depth. So where networks grow, those two forms are
timed on the whole gradient of one example, the path form on one weight, with its routes listed beforehand.
Growth is fitted over the larger half of the sizes, by least squares of log seconds: on log n, where the slope
is the exponent, or on the depth, as a factor for each layer.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich import box
from rich.table import Table

from experiments import data
from experiments.common import errors, study, timing
from experiments.common.errors import UserError
from experiments.one_gradient_ways import HEADS, difference, number_of_paths, ways
from manual_bp.models import mlp
from manual_bp.textbook import columns, index_and_vector_forms, paths

ROUTES = 300_000
"""Routes that the path form may have to list for one weight."""

LAYERS = 3
"""Layers of the networks whose width grows."""

WIDTH = 4
"""Width of the networks whose number of layers grows."""

FORMS = {"path": "one weight by paths", "index": "index form, eager", "vector": "vector form"}
COLOURS = {"path": "#D55E00", "index": "#009E73", "vector": "#0072B2"}


@dataclasses.dataclass(frozen=True)
class Settings(study.Settings):
    """Are the gradients of five notes on backpropagation one gradient, and what does each form of it cost?"""

    head: str = "cross_entropy"
    """cross_entropy (with softmax) or quadratic (with sigmoid)."""
    hidden: tuple[int, ...] = (6, 5)
    """Widths of the hidden layers, of sigmoids, between 64 inputs and 10 outputs."""
    examples: int = 8
    """Digits that the cost averages over."""
    path_widths: tuple[int, ...] = (4, 8, 16, 24, 32, 48, 64)
    """Widths of networks of three layers that the path form is timed on."""
    index_widths: tuple[int, ...] = (4, 6, 8, 12)
    """The same for the index form."""
    vector_widths: tuple[int, ...] = (4, 16, 64, 128, 256, 512, 1024)
    """The same for the vector form."""
    depths: tuple[int, ...] = (2, 4, 6, 7, 8)
    """Numbers of layers of networks of width four that the path form and the vector form are timed on."""
    rounds: int = 7
    """Times that each is timed; the fastest counts, as other work on the machine only slows."""


def fitted(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The slope of log seconds over the larger half of the sizes, or two at least."""
    half = slice(-max(2, math.ceil(len(sizes) / 2)), None)
    return float(np.polyfit(sizes[half], np.log(seconds[half]), 1)[0])


def measure(settings: Settings) -> study.Figures:
    """All differences and costs on digits, then how the cost grows with the width and with the depth."""
    (images, labels), _, outputs = data.rows(data.digits.load())
    widths = (images.shape[1], *settings.hidden, outputs)
    _check(settings, widths, len(images))
    layers = columns.from_mlp(mlp.init(jax.random.key(settings.seed), widths, dtype=jnp.float64))
    X = columns.columns(jnp.asarray(images[: settings.examples]))
    Y = columns.columns(jnp.eye(outputs)[labels[: settings.examples]])

    found = ways(widths, settings.head)
    programs = [jax.jit(way.gradient) if way.jitted else way.gradient for way in found.values()]
    calls = [partial(program, layers, X, Y) for program in programs]
    gradients = {key: call() for key, call in zip(found, calls, strict=True)}
    seconds = np.min(timing.take_turns(calls, settings.rounds), axis=0).tolist()
    gaps = {i: {j: difference(g, h) for j, h in gradients.items()} for i, g in gradients.items()}
    *analytic, complex_step, central = gaps
    return {
        "widths": list(widths),
        "differences": gaps,
        "largest": {
            "analytic": max(gaps[i][j] for j in analytic for i in analytic),
            "complex_step": max(gaps[complex_step][i] for i in analytic),
            "central_differences": max(gaps[central][i] for i in analytic),
        },
        "cost": {
            key: {
                "name": way.name, "jitted": way.jitted, "seconds": s,
                "multiplications": way.multiplications * settings.examples,
            }
            for (key, way), s in zip(found.items(), seconds, strict=True)
        },
        "by_width": _grown(
            settings, {form: getattr(settings, f"{form}_widths") for form in FORMS},
            lambda n: (n,) * (LAYERS + 1), lambda n, s: fitted(np.log(n).tolist(), s),
        ),
        "by_depth": _grown(
            settings, {"path": settings.depths, "vector": settings.depths},
            lambda n: (WIDTH,) * (n + 1), lambda n, s: math.exp(fitted(n, s)),
        ),
    }  # fmt: skip


def _grown(
    settings: Settings,
    sizes: dict[str, tuple[int, ...]],
    shape: Callable[[int], tuple[int, ...]],
    growth: Callable[[Sequence[int], Sequence[float]], float],
) -> study.Figures:
    """The number of paths at each size, the seconds of each form at its sizes, and how they grow."""
    output = HEADS[settings.head].notes["output"]
    rows = {
        size: {
            "size": size,
            "paths_of_a_weight": paths.count(shape(size), 1, output=output),  # (2)
            "paths": number_of_paths(shape(size), output=output),
            "seconds": {},
        }
        for size in sorted(set().union(*sizes.values()))
    }
    grown = {}
    for form, own in sizes.items():
        calls = [_call(settings, form, shape(size)) for size in own]
        times = np.min(timing.take_turns(calls, settings.rounds), axis=0).tolist()
        for size, seconds in zip(own, times, strict=True):
            rows[size]["seconds"][form] = seconds
        grown[form] = growth(own, times)
    return {"rows": list(rows.values()), "growth": grown}


def _call(settings: Settings, form: str, widths: tuple[int, ...]) -> timing.Call:
    """A form on one example of a random network."""
    keys, notes = jax.random.split(jax.random.key(settings.seed)), HEADS[settings.head].notes
    layers = columns.from_mlp(mlp.init(keys[0], widths, dtype=jnp.float64))
    x, y = jax.random.normal(keys[1], widths[:1], jnp.float64), jnp.eye(widths[-1])[0]

    def one_weight(layers: columns.Network, x: Array, y: Array) -> Array:
        return jnp.sum(paths.paths(layers, x, y, (1, 1, 1), **notes).products)

    programs = {
        "path": jax.jit(one_weight),
        "index": partial(index_and_vector_forms.index_form, **notes),
        "vector": jax.jit(partial(index_and_vector_forms.gradient, **notes)),
    }
    return partial(programs[form], layers, x, y)


def _check(settings: Settings, widths: tuple[int, ...], examples: int) -> None:
    errors.choose("--head", settings.head, HEADS)
    if not 1 <= settings.examples <= examples:
        raise UserError(f"--examples was {settings.examples}; expected 1 to {examples}.")
    if settings.rounds < 1:
        raise UserError(f"--rounds was {settings.rounds}; expected at least 1.")
    if min(settings.hidden, default=0) < 1:
        raise UserError(f"--hidden was {settings.hidden}; expected one width or more, each at least 1.")
    for option in ("path_widths", "index_widths", "vector_widths", "depths"):
        sizes, name = getattr(settings, option), option.replace("_", "-")
        if len(sizes) < 2 or sizes[0] < 1 or any(b <= a for a, b in pairwise(sizes)):
            raise UserError(f"--{name} was {sizes}; expected two positive numbers or more, in rising order.")
    wide, deep = (settings.path_widths[-1],) * (LAYERS + 1), (WIDTH,) * (settings.depths[-1] + 1)
    for option, shape in {"hidden": widths, "path-widths": wide, "depths": deep}.items():
        routes = paths.count(shape, 1, output=HEADS[settings.head].notes["output"])
        if routes > ROUTES:
            raise UserError(f"--{option} has {routes:,} paths for one weight; expected {ROUTES:,} at most.")


def table(figures: study.Figures) -> Table:
    """The differences of all pairs, the cost of each way, and its growth, one below the other."""
    whole = Table.grid()
    for part in (_differences_table, _cost_table, _growth_table):
        whole.add_row(part(figures))
    return whole


def _differences_table(figures: study.Figures) -> Table:
    part = _part("Largest relative difference of two gradients over the leaves", "", *figures["differences"])
    for key, row in figures["differences"].items():
        part.add_row(key, *("" if i == key else f"{gap:.0e}" if gap else "0" for i, gap in row.items()))
    part.caption = "000 has no biases and is compared on the weights alone."
    return part


def _cost_table(figures: study.Figures) -> Table:
    part = _part(f"Gradient of the network {figures['widths']}", "", "ms", "multiplications", "")
    for key, row in figures["cost"].items():
        name = row["name"] if row["jitted"] else f"{row['name']}, eager"
        part.add_row(key, f"{1e3 * row['seconds']:.3g}", f"{row['multiplications']:,}", name)
    part.columns[-1].justify = "left"
    return part


def _growth_table(figures: study.Figures) -> Table:
    part = _part("Milliseconds for one example", "layers x width", "paths of one", "of all", *FORMS.values())
    for growth, shape, rate in (
        (figures["by_width"], f"{LAYERS} x {{}}", "n^{:.2f}"),
        (figures["by_depth"], f"{{}} x {WIDTH}", "{:.2f}^L"),
    ):
        for row in growth["rows"]:
            counts = [row["paths_of_a_weight"], row["paths"]]
            times = {form: f"{1e3 * seconds:.3g}" for form, seconds in row["seconds"].items()}
            part.add_row(
                shape.format(row["size"]),
                *(f"{count:,}" if count < 1e6 else f"{count:.0e}" for count in counts),
                *(times.get(form) for form in FORMS),
            )
        rates = {form: rate.format(value) for form, value in growth["growth"].items()}
        part.add_row("grows as", "", "", *(rates.get(form) for form in FORMS), end_section=True)
    return part


def _part(title: str, *heads: str) -> Table:
    part = Table(title=title, title_justify="left", caption_justify="left", box=box.SIMPLE_HEAD, padding=0)
    for head in heads:
        part.add_column(head, justify="right")
    return part


def draw(figures: study.Figures) -> Figure:
    """The differences of all pairs, and the seconds against the width and the depth."""
    figure = Figure(figsize=(12, 6.5), layout="constrained")
    axes = figure.subplot_mosaic([["pairs", "width"], ["pairs", "depth"]], width_ratios=[1.2, 1])
    _heat_map(axes["pairs"], figures)
    _curves(axes["width"], figures["by_width"], "n^{{{:.1f}}}")
    axes["width"].legend(loc="upper right", fontsize=8.5)
    axes["width"].set(title=f"{LAYERS} layers (numbers: paths of one weight)", xlabel="width n (neurons)")
    axes["width"].set_xscale("log", base=2)
    axes["width"].xaxis.set_major_formatter("{x:.0f}")
    _curves(axes["depth"], figures["by_depth"], "{:.1f}^L")
    axes["depth"].legend(loc="upper left", fontsize=8.5)
    axes["depth"].set(title=f"Width {WIDTH} (numbers: paths of one weight)", xlabel="depth L (layers)")
    axes["depth"].set_xticks([row["size"] for row in figures["by_depth"]["rows"]])
    return figure


def _heat_map(ax: Axes, figures: study.Figures) -> None:
    gaps = np.array([list(row.values()) for row in figures["differences"].values()])
    np.fill_diagonal(gaps, np.nan)
    floor = np.min(gaps, where=gaps > 0, initial=1)  # a difference of zero has no logarithm
    logs = np.log10(np.maximum(gaps, floor))
    dark = logs < (np.nanmin(logs) + np.nanmax(logs)) / 2
    for (i, j), gap in np.ndenumerate(gaps):
        text = "" if np.isnan(gap) else f"{logs[i, j]:.1f}" if gap else "0"
        ax.text(j, i, text, ha="center", va="center", size=8.5, color="white" if dark[i, j] else "black")
    ax.set_xticks(range(len(gaps)), list(figures["cost"]), rotation=45)
    ax.set_yticks(range(len(gaps)), [f"{row['name']}  {key}" for key, row in figures["cost"].items()])
    ax.set_title("Largest relative difference of two gradients over the leaves", loc="right")
    image = ax.imshow(logs, cmap="viridis")
    ax.figure.colorbar(image, ax=ax, shrink=0.7, label="log10 of the difference")


def _curves(ax: Axes, figures: study.Figures, rate: str) -> None:
    for form, growth in figures["growth"].items():
        rows = [row for row in figures["rows"] if form in row["seconds"]]
        points = [(row["size"], 1e3 * row["seconds"][form]) for row in rows]
        label = f"{FORMS[form]}: ${rate.format(growth)}$"
        ax.plot(*zip(*points, strict=True), "o-", color=COLOURS[form], label=label)
        if form == "path":
            for row, point in zip(rows, points, strict=True):
                count = f"{row['paths_of_a_weight']:,}"
                ax.annotate(count, point, (0, 6), textcoords="offset points", ha="right", size=8)
    ax.set(ylabel="ms for one example", yscale="log")
    ax.margins(y=0.25)
    ax.grid(alpha=0.3)


def sentence(figures: study.Figures) -> str:
    """How far the gradients are apart, and how the forms grow."""
    gaps, width, depth = figures["largest"], figures["by_width"]["growth"], figures["by_depth"]["growth"]
    return (
        f"The {len(figures['cost']) - 2} analytic gradients differ by at most {gaps['analytic']:.0e} of a "
        f"leaf's norm, the complex step from them by {gaps['complex_step']:.0e}, central differences by "
        f"{gaps['central_differences']:.0e}; the time of one weight by paths grows as n^{width['path']:.1f} "
        f"with the width n, that of all in index form as n^{width['index']:.1f}, in vector form as "
        f"n^{width['vector']:.1f}, and each layer multiplies it by {depth['path']:.1f} for paths, by "
        f"{depth['vector']:.1f} in vector form."
    )


STUDY = study.Study("one_gradient", Settings, measure, table, draw, sentence)

if __name__ == "__main__":
    errors.run(lambda: study.run(STUDY))
