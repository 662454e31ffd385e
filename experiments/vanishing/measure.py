"""Bands of (4) and (5) over the draws, for every network at initialisation and for some in training."""

import dataclasses
from typing import Annotated

import jax
import numpy as np

from experiments import data
from experiments.common import memory, study
from experiments.common.errors import UserError, choose
from experiments.common.options import Between, Count, OneOf
from experiments.data import SOURCES
from experiments.vanishing import book
from experiments.vanishing.bands import band
from experiments.vanishing.networks import INITIALIZATIONS, networks, shallower
from experiments.vanishing.norms import COSTS, first_examples, initial_norms, training_norms
from manual_bp.ops.activations import MEMBERS

TRAINED_DEPTH, TRAINED_DRAWS = 4, 10
"""Hidden layers of the networks that are trained, and their number."""

PARTNERS = {"sigmoid": "fan_in", "tanh": "glorot", "relu": "he"}
"""The initialisation that an activation is trained with, where it is one of those chosen."""


@dataclasses.dataclass(frozen=True)
class Settings(study.Settings):
    """What this study can be told."""

    data: Annotated[str, OneOf(SOURCES)] = "digits"
    """The data set; mnist, which is fetched once, adds the numbers of Nielsen's book."""
    depths: tuple[Annotated[int, Between(2, 1000)], ...] = (2, 4, 6, 8, 10)
    """Numbers of hidden layers."""
    activations: tuple[Annotated[str, OneOf(MEMBERS)], ...] = ("sigmoid", "tanh", "relu")
    """Activations of the hidden layers."""
    initializations: tuple[Annotated[str, OneOf(INITIALIZATIONS)], ...] = INITIALIZATIONS
    """Initialisations of the networks."""
    cost: Annotated[str, OneOf(COSTS)] = "cross_entropy"
    """Cost of the sigmoid outputs."""
    draws: Count = 100
    """Initialisations of every network."""
    width: Count = 30
    """Neurons of a hidden layer."""
    examples: Count = 1000
    """Training examples, from the first on."""
    epochs: Count = 60
    """Passes over the examples, for the networks of four hidden layers that are trained."""


def check(settings: Settings) -> None:
    """Raise `UserError` for an unknown name or an impossible number."""
    for option, known in (("activations", MEMBERS), ("initializations", INITIALIZATIONS)):
        for name in getattr(settings, option) or [""]:
            choose(f"--{option}", name, known)
    choose("--cost", settings.cost, COSTS)
    if min(settings.depths, default=0) < 2:
        raise UserError(f"--depths was {list(settings.depths)}; expected one or more, each at least 2.")
    for option in ("draws", "width", "examples", "epochs"):
        if getattr(settings, option) < 1:
            raise UserError(f"--{option} was {getattr(settings, option)}; expected at least 1.")


def measure(settings: Settings) -> study.Figures:
    """Bands of (4) and (5) over the draws, for every network at initialisation and for some in training."""
    check(settings)
    dataset = data.rows(data.load(settings.data, None))
    if settings.examples > (available := len(dataset.train.x)):
        raise UserError(f"--examples was {settings.examples}; the training data has only {available}.")
    batch = first_examples(dataset, settings.examples)
    depths = sorted(set(settings.depths))
    hidden = [settings.width] * max(*depths, TRAINED_DEPTH)
    weights = settings.draws * settings.width * max(len(hidden) * settings.width, settings.examples)
    memory.require(f"--draws {settings.draws} with --width {settings.width}", 8 * weights)
    widths = (batch[0].shape[1], *hidden, dataset.classes)
    initial = {activation: {} for activation in settings.activations}
    training = {}
    for name in settings.initializations:
        params = networks(jax.random.key(settings.seed), settings.draws, widths, name)
        for activation in settings.activations:
            static = {"activation": activation, "cost": settings.cost}
            rows = initial[activation][name] = []
            for depth in depths:
                norms = np.asarray(initial_norms(shallower(params, depth), batch, **static))
                alive = norms[norms[:, -1] > 0]
                factor = (alive[:, 0] / alive[:, -1]) ** (1 / (depth - 1))  # (5)
                bands = [band(layer) for layer in norms.T]
                rows.append({"depth": depth, "norm": bands, "factor": band(factor)})
            if name == _partner(activation, settings.initializations):
                some = jax.tree.map(lambda leaf: leaf[:TRAINED_DRAWS], shallower(params, TRAINED_DEPTH))
                norms = np.asarray(training_norms(some, batch, **static, epochs=settings.epochs))
                bands = [[band(layer) for layer in epoch.T] for epoch in norms.swapaxes(0, 1)]
                training[activation] = {"initialization": name, "norm": bands}
    nielsen = book.against_book(settings.seed, settings.draws, dataset) if settings.data == "mnist" else []
    return {"initial": initial, "training": training, "book": nielsen}


def _partner(activation: str, chosen: tuple[str, ...]) -> str:
    return PARTNERS[activation] if PARTNERS.get(activation) in chosen else chosen[0]
