r"""Which check finds a wrong gradient, and what does it cost to find none?

Every mistake of `manual_bp.textbook.errata` is planted in the same networks of sigmoids, 64-20-10-10, of
real digits; output, cost and targets are the mistake's own. The wrong gradient G trains them by

    l <- l - eta G(l; X, Y), each step on a batch drawn anew                            (1)

beside the right one, from the same initialisations, on the same batches and at the same learning rate.
Weights begin with variance 1/fan-in, biases with 1. The loss falls if the right cost of all training
examples is lower after the last step than before the first. The accuracy lost is the right gradient's test
accuracy minus the wrong one's, in points: the mean over the initialisations.

Then each check of `mistake_checks` is asked at each of its places. The right gradients are asked as well,
one for each output, cost and targets: a check that complains of one raises a false alarm. For ours these
are counted on every rung of the ladder, too.
"""

import dataclasses
import itertools
import math
import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from rich import box
from rich.console import Console
from rich.progress import track
from rich.table import Column, Table

import jax_ref.textbook
from experiments import data, mistake_checks
from experiments.common import errors, study
from experiments.common.errors import UserError, choose
from experiments.mistake_checks import CHECKS, Places, Reference
from jax_ref.verify import inputs, oracle
from manual_bp.textbook.columns import Layer, Network
from manual_bp.textbook.errata import MISTAKES, Mistake
from manual_bp.textbook.errata.steps import CROSS_ENTROPY, QUADRATIC, Gradient, by

WIDTHS = (64, 20, 10, 10)
"""The last layer is square and as wide as the one before: some mistakes need it."""

RIGHT = {("sigmoid", "quadratic"): by(QUADRATIC), ("softmax", "cross_entropy"): by(CROSS_ENTROPY)}
"""The right gradient of an output and cost, where most mistakes are one step of it; else `correct`."""

LEARNING_RATES = {
    ("sigmoid", "quadratic"): 3.0,
    ("sigmoid", "mean_squares"): 15.0,  # the same steps, as this cost is 2/10 of the quadratic one
    ("softmax", "quadratic"): 3.0,
    ("softmax", "cross_entropy"): 1.0,
}
"""eta of an output and cost: about a third of the largest at which all networks are trained."""

LOSS = "training loss"
PLACES = {LOSS: ("start",)} | dict.fromkeys(CHECKS, mistake_checks.PLACES)
"""Where each check is asked; the training loss complains of a gradient by which it does not fall."""

SHORT = ("loss", "check\ngrads\nf32", "check\ngrads\nf64", "chex", "all\nclose", "all\nclose\nloose")
SHORT += ("ours\nf32", "ours\nf64")  # the checks in the table and the picture

COLOURS = {
    "right every time": "#0072B2",
    "right sometimes": "#F0E442",
    "missed every time": "#D55E00",
    "false alarm": "#CC79A7",
    "does not run": "#DDDDDD",
}


@dataclasses.dataclass(frozen=True)
class Settings(study.Settings):
    """Which check finds a wrong gradient, and what does it cost to find none?"""

    only: tuple[str, ...] = ()
    """Names of the mistakes to plant; by default all."""
    steps: int = 3000
    """Steps of training."""
    batch_size: int = 32
    """Examples of a batch, in training and in the checks."""
    repeats: int = 3
    """Networks from different initialisations; each check has one try at each, in each place."""


class Setup(NamedTuple):
    """What all mistakes share: digits in columns, R networks, the batches of training and of the checks."""

    X: Float[Array, "64 N"]
    Y: Float[Array, "10 N"]
    X_test: Float[Array, "64 M"]
    labels: Int[Array, "M"]
    networks: Network
    batches: Int[Array, "steps B"]
    checked: Int[Array, "R B"]


def set_up(settings: Settings) -> Setup:
    """The digits, and all that is drawn for training."""
    rng = np.random.default_rng(settings.seed)
    training, test, classes = data.rows(data.digits.load())
    R, B = settings.repeats, settings.batch_size
    networks = tuple(
        Layer(jnp.asarray(rng.normal(size=(R, o, i)) / math.sqrt(i)), jnp.asarray(rng.normal(size=(R, o))))
        for i, o in itertools.pairwise(WIDTHS)
    )
    batches, checked = (rng.integers(len(training.x), size=(rows, B)) for rows in (settings.steps, R))
    one_hot = np.eye(classes)[:, training.y]
    arrays = (training.x.T, one_hot, test.x.T, test.y, networks, batches, checked)
    return Setup(*jax.tree.map(jnp.asarray, arrays))


class Stage(NamedTuple):
    """The right side of all mistakes with one output, cost and targets, and where they are checked."""

    gradient: Gradient
    known: Reference
    Y: Float[Array, "10 N"]
    learning_rate: float
    accuracy: Float[Array, "R"]
    places: list[Places]


def stage(setup: Setup, mistake: Mistake) -> Stage:
    """Trains with the right gradient, and asks the oracle at every place."""
    head = mistake.output, mistake.cost
    gradient, known = RIGHT.get(head, mistake.correct), mistake_checks.reference(*head)
    Y, rate = mistake.targets(setup.Y), LEARNING_RATES[head]
    trained = train(gradient, setup, Y, rate)
    rng = np.random.default_rng(0)
    places = []
    for number, batch in enumerate(setup.checked):
        start, end = jax.tree.map(operator.itemgetter(number), (setup.networks, trained))
        given = start, setup.X[:, batch], Y[:, batch]
        places.append(mistake_checks.places(known, given, end, setup.Y[:, batch], rng))
    return Stage(gradient, known, Y, rate, accuracy(trained, setup), places)


def train(gradient: Gradient, setup: Setup, Y: Float[Array, "10 N"], learning_rate: float) -> Network:
    """The networks after (1), trained in float32; a wrong gradient may leave NaNs."""
    networks, X, Y = oracle.cast((setup.networks, setup.X, Y), jnp.float32)

    def step(networks: Network, batch: Array) -> tuple[Network, None]:
        gradients = jax.vmap(gradient, in_axes=(0, None, None))(networks, X[:, batch], Y[:, batch])
        return jax.tree.map(lambda p, g: p - learning_rate * g, networks, gradients), None  # (1)

    trained = jax.jit(lambda networks: jax.lax.scan(step, networks, setup.batches)[0])(networks)
    return oracle.cast(trained, jnp.float64)


@jax.jit
def accuracy(networks: Network, setup: Setup) -> Float[Array, "R"]:
    """The share of the test examples that each network has right."""
    last_input = jax.vmap(jax_ref.textbook.last_input, in_axes=(None, 1))
    z = jax.vmap(last_input, in_axes=(0, None))(networks, setup.X_test)
    return jnp.mean(jnp.argmax(z, axis=2) == setup.labels[None], axis=1)


def measure(settings: Settings) -> study.Figures:
    """A row for every right gradient and every mistake: training, and each check's number of complaints."""
    for name in settings.only:
        choose("--only", name, MISTAKES)
    for option in ("steps", "batch_size", "repeats"):
        if (value := getattr(settings, option)) < 1:
            raise UserError(f"--{option.replace('_', '-')} was {value}; expected at least 1.")
    setup = set_up(settings)
    stages, rights, planted = {}, [], []
    names = settings.only or tuple(MISTAKES)
    for name in track(names, "planting", console=Console(stderr=True), transient=True):
        mistake = MISTAKES[name]
        key = mistake.output, mistake.cost, mistake.targets
        if key not in stages:
            stages[key] = at = stage(setup, mistake)
            other = "" if at.Y is setup.Y else ", other targets"
            title = f"no mistake: {mistake.output}, {mistake.cost}{other}".replace("_", "-")
            starts = [places["start"]["float64"].args for places in at.places]
            rungs = mistake_checks.complaints_on_ladder(at.known, at.gradient, starts)
            rights.append({"name": title, "rungs": rungs, **attempt(setup, at, at.gradient)})
        found = attempt(setup, stages[key], mistake.gradient)
        planted.append({"name": name, "off": mistake.off, **found})
    planted.sort(key=lambda row: row.get("lost", math.inf))
    return {"repeats": settings.repeats, "rights": rights, "planted": planted}


def attempt(setup: Setup, at: Stage, gradient: Gradient) -> study.Figures:
    """What training shows of a gradient, how often of R times each check complains, and where ours does.

    Nothing if the gradient has not the shapes of the layers.
    """
    first = at.places[0]["start"]["float64"]
    found, wanted = jax.eval_shape(gradient, *first.args), first.args[0]
    if jax.tree.map(jnp.shape, found) != jax.tree.map(jnp.shape, wanted):
        return {}
    trained = train(gradient, setup, at.Y, at.learning_rate)
    cost = jax.vmap(at.known.cost, in_axes=(0, None, None))
    fallen = cost(trained, setup.X, at.Y) < cost(setup.networks, setup.X, at.Y)  # NaN has not
    complaints = mistake_checks.complaints(at.known, gradient, at.places)
    reached = accuracy(trained, setup)
    return {
        "accuracy": 100 * float(jnp.mean(reached)),
        "lost": 100 * float(jnp.mean(at.accuracy - reached)),
        "complaints": {LOSS: {"start": int(jnp.sum(~fallen))}} | complaints,
        "leaf": mistake_checks.first_wrong_leaf(mistake_checks.author(at.known, gradient, first), first),
    }


def table(figures: study.Figures) -> Table:
    """One row for each gradient."""
    shown = Table(
        Column("gradient", min_width=14),
        Column("lost", justify="right", no_wrap=True),
        *(Column(name, justify="right", no_wrap=True) for name in SHORT),
        Column("leaf", no_wrap=True),
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
        caption=f"Of {figures['repeats']} tries. lost: points of test accuracy; loss: it does not fall; "
        "checks: complaints, a digit each at the start, trained, at zeros and drawn, which are false alarms "
        "where there is no mistake; leaf: the first that ours finds wrong on the way back, at the start.",
    )
    for row in figures["rights"] + figures["planted"]:
        if "complaints" in row:
            counts = ("".join(map(str, row["complaints"][check].values())) for check in PLACES)
            cells = f"{row['lost']:.1f}", *counts, row["leaf"] or ""
        else:
            cells = ("-",) * (len(PLACES) + 2)
        shown.add_row(row["name"], *cells, end_section=row is figures["rights"][-1])
    return shown


def outcome(figures: study.Figures, row: study.Figures, check: str, place: str) -> str:
    """How right a check is about a row at a place, one of `COLOURS`."""
    if "complaints" not in row:
        return "does not run"
    complaints = row["complaints"][check][place]
    if row in figures["rights"]:
        return "false alarm" if complaints else "right every time"
    return {0: "missed every time", figures["repeats"]: "right every time"}.get(complaints, "right sometimes")


def draw(figures: study.Figures) -> Figure:
    """A cell for each gradient, check and place, beside the accuracy that the gradient loses."""
    rows, kinds = figures["rights"] + figures["planted"], list(COLOURS)
    figure = Figure(figsize=(10, 2.2 + 0.21 * len(rows)), layout="constrained")
    cells, bars = figure.subplots(1, 2, sharey=True, width_ratios=(4, 1))
    colours = {"cmap": ListedColormap(list(COLOURS.values())), "vmin": 0, "vmax": len(kinds) - 1}
    left, ticks = 0.0, {}
    for (check, places), title in zip(PLACES.items(), SHORT, strict=True):
        found = [[kinds.index(outcome(figures, row, check, place)) for place in places] for row in rows]
        edges = left + np.arange(len(places) + 1), np.arange(len(rows) + 1)
        cells.pcolormesh(*edges, found, edgecolors="white", **colours)
        cells.text(left + len(places) / 2, -0.4, title, ha="center", va="bottom")
        ticks |= {left + number + 0.5: place[0] for number, place in enumerate(places)}
        left += len(places) + 0.5
    centres, lost = np.arange(len(rows)) + 0.5, [row.get("lost", math.nan) for row in rows]
    bars.bar_label(bars.barh(centres, lost, 0.7, color="#555555"), fmt="{:.1f}", padding=3, fontsize=8)
    bars.set(xlim=(min(0, np.nanmin(lost)) - 10, 120), xlabel="points", title="accuracy lost")
    cells.set(ylim=(len(rows), 0), xlabel="place: start, trained, zeros, drawn")
    cells.set_xticks(list(ticks), list(ticks.values()), fontsize=8)
    cells.set_yticks(centres, [row["name"] for row in rows])
    for ax in (cells, bars):
        ax.axhline(len(figures["rights"]), color="white", linewidth=6)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    patches = [Patch(color=colour, label=label) for label, colour in COLOURS.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=5, frameon=False)
    figure.suptitle(f"Is each check right about the gradient? {figures['repeats']} tries at each place")
    return figure


def sentence(figures: study.Figures) -> str:
    """How many mistakes each check finds in every try, and how often it complains of a right gradient."""
    run = [row for row in figures["planted"] if "lost" in row]
    found, alarms = [], {}
    for check in CHECKS:
        outcomes = [[outcome(figures, row, check, place) for row in run] for place in PLACES[check]]
        found.append(f"{check} {'/'.join(str(o.count('right every time')) for o in outcomes)}")
        alarms[check] = sum(sum(row["complaints"][check].values()) for row in figures["rights"])
    tries = len(figures["rights"]) * figures["repeats"]
    rungs = {rung: sum(row["rungs"][rung] for row in figures["rights"]) for rung in inputs.LADDER}
    return (
        f"{len(run)} of {len(figures['planted'])} mistakes run; "
        f"{sum(not row['complaints'][LOSS]['start'] for row in run)} of them let the loss fall every time, "
        f"{sum(row['lost'] < 1 for row in run)} cost less than a point of accuracy, and so many are found "
        f"every time at the start/trained/at zeros/drawn: {', '.join(found)}. False alarms in {tries} tries "
        f"at each place: {_listed(alarms)}; of ours in {tries} on each rung of the ladder: {_listed(rungs)}."
    )


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count) or "none"


STUDY = study.Study("mistakes", Settings, measure, table, draw, sentence)

if __name__ == "__main__":
    errors.run(lambda: study.run(STUDY))
