"""Training and the answers of all checks, for every right gradient and every mistake."""

import dataclasses
import itertools
import math
import operator
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from rich.console import Console
from rich.progress import track

from experiments.common import memory, study
from experiments.common.errors import UserError, choose
from experiments.common.options import Count
from experiments.mistakes import author, checks, ours, places, training
from experiments.mistakes.author import Cost
from experiments.mistakes.places import Place
from experiments.mistakes.training import Setup
from manual_bp.textbook.errata import MISTAKES, Mistake
from manual_bp.textbook.errata.steps import CROSS_ENTROPY, QUADRATIC, Gradient, by

RIGHT = {("sigmoid", "quadratic"): by(QUADRATIC), ("softmax", "cross_entropy"): by(CROSS_ENTROPY)}
"""The right gradient of an output and cost, where most mistakes are one step of it; else `correct`."""

LOSS = "training loss"
"""Complains of a gradient by which the loss does not fall; it is asked at the start alone."""


@dataclasses.dataclass(frozen=True)
class Settings(study.Settings):
    """What this study can be told."""

    only: tuple[str, ...] = ()
    """Names of the mistakes to plant; by default all."""
    steps: Count = 3000
    """Steps of training."""
    batch_size: Count = 32
    """Examples of a batch, in training and in the checks."""
    repeats: Count = 3
    """Networks from different initialisations; each check has one try at each, in each place."""


Key = tuple[str, str, Callable[[Array], Array]]


def key(mistake: Mistake) -> Key:
    """The mistakes that agree in it are held against one right gradient."""
    return mistake.output, mistake.cost, mistake.targets


class Stage(NamedTuple):
    """The right side of all mistakes with one output, cost and targets, and where they are checked."""

    title: str
    gradient: Gradient
    cost: Cost
    Y: Float[Array, "10 N"]
    learning_rate: float
    accuracy: Float[Array, "R"]
    places: dict[str, list[Place]]


def stage(setup: Setup, mistake: Mistake) -> Stage:
    """Trains with the right gradient."""
    head, Y = (mistake.output, mistake.cost), mistake.targets(setup.Y)
    gradient, rate = RIGHT.get(head, mistake.correct), training.LEARNING_RATES[head]
    trained = training.train(gradient, setup, Y, rate)
    batches = []
    for number, chosen in enumerate(setup.checked):
        start, end = jax.tree.map(operator.itemgetter(number), (setup.networks, trained))
        batches.append(places.Batch(start, end, setup.X[:, chosen], Y[:, chosen], setup.Y[:, chosen]))
    examples, where = places.of(batches, np.random.default_rng(0))
    right = author.cost(examples, output=mistake.output, cost=mistake.cost)
    other = "" if Y is setup.Y else ", other targets"
    title = f"no mistake: {mistake.output}, {mistake.cost}{other}".replace("_", "-")
    return Stage(title, gradient, right, Y, rate, training.accuracy(trained, setup), where)


def measure(settings: Settings) -> study.Figures:
    """A row for every right gradient and every mistake: training, and each check's number of complaints."""
    for name in settings.only:
        choose("--only", name, MISTAKES)
    for option in ("steps", "batch_size", "repeats"):
        if (value := getattr(settings, option)) < 1:
            raise UserError(f"--{option.replace('_', '-')} was {value}; expected at least 1.")
    drawn = settings.batch_size * (settings.steps + settings.repeats)
    networks = settings.repeats * sum((i + 1) * o for i, o in itertools.pairwise(training.WIDTHS))
    memory.require("What --batch-size, --steps and --repeats ask for", 8 * (drawn + networks))
    setup = training.set_up(
        settings.seed, repeats=settings.repeats, batch_size=settings.batch_size, steps=settings.steps
    )
    mistakes = {name: MISTAKES[name] for name in settings.only or MISTAKES}
    stages: dict[Key, Stage] = {}
    for mistake in mistakes.values():
        if key(mistake) not in stages:
            stages[key(mistake)] = stage(setup, mistake)
    rows = [({"name": at.title}, at, at.gradient) for at in stages.values()]
    rows += [
        ({"name": name, "off": mistake.off}, stages[key(mistake)], mistake.gradient)
        for name, mistake in mistakes.items()
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # most of the time goes into compiling
        done = pool.map(lambda row: row[0] | attempt(setup, *row[1:]), rows)
        console = Console(stderr=True)
        found = list(track(done, "planting", len(rows), console=console, transient=True))
    rights, planted = found[: len(stages)], found[len(stages) :]
    planted.sort(key=lambda row: row.get("lost", math.inf))
    return {"repeats": settings.repeats, "rights": rights, "planted": planted}


def attempt(setup: Setup, at: Stage, gradient: Gradient) -> study.Figures:
    """What training shows of a gradient, how often of R times each check complains, and what ours says.

    Nothing if the gradient has not the shapes of the layers.
    """
    first = at.places["start"][0]
    found = jax.eval_shape(gradient, first.layers, *at.cost.examples.chosen(first.numbers, first.layers))
    if jax.tree.map(jnp.shape, found) != jax.tree.map(jnp.shape, first.layers):
        return {}
    trained = training.train(gradient, setup, at.Y, at.learning_rate)
    value = jax.vmap(at.cost.of, in_axes=(0, None, None))
    fallen = value(trained, setup.X, at.Y) < value(setup.networks, setup.X, at.Y)  # NaN has not
    on_trial = author.author(at.cost, gradient)
    reports = {
        name: [ours.report(at.cost, on_trial, place) for place in several]
        for name, several in at.places.items()
    }
    by_ours = {
        check: {name: sum(ours.complains(r, dtype) for r in said) for name, said in reports.items()}
        for check, dtype in ours.DTYPES.items()
    }
    wrong = ours.first_wrong(reports["start"][0])
    reached = training.accuracy(trained, setup)
    return {
        "accuracy": 100 * float(jnp.mean(reached)),
        "lost": 100 * float(jnp.mean(at.accuracy - reached)),
        "complaints": {
            LOSS: {"start": int(jnp.sum(~fallen))},
            **checks.complaints(at.cost, on_trial, at.places),
            **by_ours,
        },
        "leaf": wrong and wrong.leaf,
        "kind": wrong and wrong.kind,
    }
