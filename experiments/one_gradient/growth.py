"""Growth of the time of three forms with the width and with the depth of a network."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.common import study, timing
from experiments.one_gradient.ways import HEADS, number_of_paths
from manual_bp.models import mlp
from manual_bp.textbook import columns, index_and_vector_forms, paths

LAYERS = 3
"""Layers of the networks whose width grows."""

WIDTH = 4
"""Width of the networks whose number of layers grows."""

TIMED = {"path": "one weight by paths", "index": "index form, eager", "vector": "vector form"}
"""The forms that are timed, and what they are called."""


def fitted(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The slope of log seconds over the larger half of the sizes, or two at least."""
    half = slice(-max(2, math.ceil(len(sizes) / 2)), None)
    return float(np.polyfit(sizes[half], np.log(seconds[half]), 1)[0])


class Timing(NamedTuple):
    """What is timed: the head, the seed of the networks, and how often; the fastest counts."""

    head: str
    seed: int
    rounds: int


def by_width(how: Timing, sizes: dict[str, tuple[int, ...]]) -> study.Figures:
    """Times of networks of `LAYERS` layers, by form; the growth is the exponent of the width."""
    return _grown(how, sizes, lambda n: (n,) * (LAYERS + 1), lambda n, s: fitted(np.log(n).tolist(), s))


def by_depth(how: Timing, depths: tuple[int, ...]) -> study.Figures:
    """Times of networks of width `WIDTH`; the growth is the factor for each layer."""
    sizes = {"path": depths, "vector": depths}
    return _grown(how, sizes, lambda n: (WIDTH,) * (n + 1), lambda n, s: math.exp(fitted(n, s)))


def _grown(
    how: Timing,
    sizes: dict[str, tuple[int, ...]],
    shape: Callable[[int], tuple[int, ...]],
    growth: Callable[[Sequence[int], Sequence[float]], float],
) -> study.Figures:
    """The number of paths at each size, the seconds of each form at its sizes, and how they grow."""
    output = HEADS[how.head].notes["output"]
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
        calls = [_call(how, form, shape(size)) for size in own]
        times = np.min(timing.take_turns(calls, how.rounds), axis=0).tolist()
        for size, seconds in zip(own, times, strict=True):
            rows[size]["seconds"][form] = seconds
        grown[form] = growth(own, times)
    return {"rows": list(rows.values()), "growth": grown}


def _call(how: Timing, form: str, widths: tuple[int, ...]) -> timing.Call:
    """A form on one example of a random network."""
    keys, notes = jax.random.split(jax.random.key(how.seed)), HEADS[how.head].notes
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
