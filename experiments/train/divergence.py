"""Divergence: whether a round left anything that is not finite, in its figures or in the params."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from experiments.train.epoch import State


def what_is_not_finite(
    record: dict[str, Any], states: Mapping[str, State], read: Callable[[Any], np.ndarray] = np.asarray
) -> str | None:
    """The first thing of a round that is not finite, in words; its states, read whole, are then not kept."""
    for engine, figures in record["engines"].items():
        for name, figure in figures.items():
            if not math.isfinite(figure):
                return f"{engine}'s {name.replace('_', ' ')}"
    for engine, state in states.items():
        arrays = map(read, jax.tree.leaves((state.params, state.model)))
        if not all(np.isfinite(array).all() for array in arrays):
            return f"a param of {engine}"
    rest = [
        *record["gradient_norm"],
        *(record["gradient_difference"] or ()),
        record["parameter_distance"] or 0,
    ]
    return None if all(map(math.isfinite, rest)) else "the gradient"
