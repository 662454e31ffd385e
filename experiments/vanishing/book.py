"""The numbers of Nielsen's book beside the bands of what he may have measured."""

import itertools
from typing import Any

import jax
import numpy as np

from experiments import data
from experiments.vanishing.bands import band
from experiments.vanishing.networks import NORMAL, networks, shallower
from experiments.vanishing.norms import COSTS, first_examples, initial_norms

BOOK = ((0.07, 0.31), (0.012, 0.060, 0.283), (0.003, 0.017, 0.070, 0.285))
"""Nielsen's numbers for two, three and four hidden layers of 30, from the first layer to the last."""


def against_book(seed: int, draws: int, dataset: data.Dataset) -> list[dict[str, Any]]:
    """Nielsen's numbers and the bands they are compared with, for each reading of what he measured."""
    batch = first_examples(dataset, 1000)
    widths = (batch[0].shape[1], 30, 30, 30, 30, dataset.classes)
    readings = []
    for name, cost in itertools.product(NORMAL, COSTS):
        params = networks(jax.random.key(seed), draws, widths, name)
        bands = []
        for numbers in BOOK:
            norms = initial_norms(shallower(params, len(numbers)), batch, activation="sigmoid", cost=cost)
            layers = zip(numbers, np.asarray(norms).T, strict=True)
            bands += [{"book": number, **band(layer)} for number, layer in layers]
        readings.append({"initialization": name, "cost": cost, "norm": bands})
    return readings
