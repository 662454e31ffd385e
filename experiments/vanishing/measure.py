"""Bands of (4) and (5) over the draws, for every network at initialisation and for some in training."""

import dataclasses
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import data
from experiments.common import study
from experiments.common.errors import UserError, choose
from experiments.vanishing.networks import INITIALIZATIONS, NORMAL, networks, shallower
from experiments.vanishing.norms import COSTS, Batch, initial_norms, training_norms
from manual_bp.ops import activations

TRAINED_DEPTH, TRAINED_DRAWS = 4, 10
"""Hidden layers of the networks that are trained, and their number."""

PARTNERS = {"sigmoid": "fan_in", "tanh": "glorot", "relu": "he"}
"""The initialisation that an activation is trained with, where it is one of those chosen."""

BOOK = ((0.07, 0.31), (0.012, 0.060, 0.283), (0.003, 0.017, 0.070, 0.285))
"""Nielsen's numbers for two, three and four hidden layers of 30, from the first layer to the last."""


@dataclasses.dataclass(frozen=True)
class Settings(study.Settings):
    """What this study can be told."""

    data: str = "digits"
    """digits (comes with scikit-learn), or mnist (fetched once), which adds the numbers of Nielsen's book."""
    depths: tuple[int, ...] = (2, 4, 6, 8, 10)
    """Numbers of hidden layers."""
    activations: tuple[str, ...] = ("sigmoid", "tanh", "relu")
    """Activations of the hidden layers."""
    initializations: tuple[str, ...] = INITIALIZATIONS
    """Some of unit_normal, fan_in, glorot, he and near_zero."""
    cost: str = "cross_entropy"
    """cross_entropy or quadratic, of sigmoid outputs."""
    draws: int = 100
    """Initialisations of every network."""
    width: int = 30
    """Neurons of a hidden layer."""
    examples: int = 1000
    """Training examples, from the first on."""
    epochs: int = 60
    """Passes over the examples, for the networks of four hidden layers that are trained."""


def check(settings: Settings) -> None:
    """Raise `UserError` for an unknown name or an impossible number."""
    for option, known in (("activations", activations.MEMBERS), ("initializations", INITIALIZATIONS)):
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
    batch = _batch(dataset, settings.examples)
    depths = sorted(set(settings.depths))
    hidden = [settings.width] * max(*depths, TRAINED_DEPTH)
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
                bands = [_band(layer) for layer in norms.T]
                rows.append({"depth": depth, "norm": bands, "factor": _band(factor)})
            if name == _partner(activation, settings.initializations):
                some = jax.tree.map(lambda leaf: leaf[:TRAINED_DRAWS], shallower(params, TRAINED_DEPTH))
                norms = np.asarray(training_norms(some, batch, **static, epochs=settings.epochs))
                bands = [[_band(layer) for layer in epoch.T] for epoch in norms.swapaxes(0, 1)]
                training[activation] = {"initialization": name, "norm": bands}
    book = against_book(settings.seed, settings.draws, dataset) if settings.data == "mnist" else []
    return {"initial": initial, "training": training, "book": book}


def against_book(seed: int, draws: int, dataset: data.Dataset) -> list[dict[str, Any]]:
    """Nielsen's numbers and the bands they are compared with, for each reading of what he measured."""
    batch = _batch(dataset, 1000)
    widths = (batch[0].shape[1], 30, 30, 30, 30, dataset.classes)
    readings = []
    for name, cost in itertools.product(NORMAL, COSTS):
        params = networks(jax.random.key(seed), draws, widths, name)
        bands = []
        for numbers in BOOK:
            norms = initial_norms(shallower(params, len(numbers)), batch, activation="sigmoid", cost=cost)
            layers = zip(numbers, np.asarray(norms).T, strict=True)
            bands += [{"book": number, **_band(layer)} for number, layer in layers]
        readings.append({"initialization": name, "cost": cost, "norm": bands})
    return readings


def _batch(dataset: data.Dataset, examples: int) -> Batch:
    targets = np.eye(dataset.classes)[dataset.train.y[:examples]]
    return jnp.asarray(dataset.train.x[:examples], jnp.float64), jnp.asarray(targets)


def _partner(activation: str, chosen: tuple[str, ...]) -> str:
    return PARTNERS[activation] if PARTNERS.get(activation) in chosen else chosen[0]


def _band(values: np.ndarray) -> dict[str, float | None]:
    if values.size == 0 or not np.all(np.isfinite(values)):
        return {"low": None, "median": None, "high": None}
    low, median, high = np.quantile(values, (0.05, 0.5, 0.95)).tolist()
    return {"low": low, "median": median, "high": high}
