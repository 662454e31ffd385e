"""Temporary memory and time of a step at each length, by each way."""

import dataclasses
from functools import partial
from itertools import pairwise
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import memory, study, timing
from experiments.common.errors import UserError
from experiments.common.options import Between, Count
from experiments.drop_in import network

SHARE = 0.5
"""Of the memory that there is, what a program may need to be run."""


@dataclasses.dataclass(frozen=True)
class Settings(study.Settings):
    """What this study can be told."""

    lengths: tuple[Annotated[int, Between(2, 2**20)], ...] = (1024, 4096, 16384)
    """Tokens of a text, in rising order."""
    layers: Annotated[int, Between(1, 100)] = 4
    """Blocks of attention and mlp."""
    width: Count = 256
    """Features of a token."""
    heads: Count = 4
    """Heads of attention."""
    vocabulary: Count = 8192
    """Tokens that there are."""
    batch_size: Count = 1
    """Texts of a step."""
    rounds: Count = 3
    """Times that each way is timed, in turns."""


def measure(settings: Settings) -> study.Figures:
    """The memory of each way at each length, the time of those that fit, and how the gradients differ."""
    _check(settings)
    rows = [_row(settings, length) for length in settings.lengths]
    return {
        "limit": int(SHARE * memory.total()),
        "rows": rows,
        "growth": {
            way: _growth(settings.lengths, [row[way]["bytes"] for row in rows]) for way in network.WAYS
        },
    }


def _row(settings: Settings, length: int) -> study.Figures:
    """The bytes of all ways; of those that fit, the seconds, and those of the replaced one over them."""
    args = _example(settings, length)
    contestants = {name: timing.Contestant(_step(settings, way), args) for name, way in network.WAYS.items()}
    around = memory.size(args) + memory.size([c.output for c in contestants.values()])
    fitting = [n for n, c in contestants.items() if c.temp_bytes + around <= SHARE * memory.total()]
    figures: study.Figures = {
        name: {"bytes": c.temp_bytes, "seconds": None, "ratio": None} for name, c in contestants.items()
    }
    if fitting:
        timed = timing.take_turns([contestants[name] for name in fitting], settings.rounds)
        for name, seconds in zip(fitting, timed.T, strict=True):
            figures[name]["seconds"] = float(np.median(seconds))
            if "replaced" in fitting:
                figures[name]["ratio"] = float(np.median(timed[:, fitting.index("replaced")] / seconds))
    difference = None
    if {"plain", "replaced"} <= set(fitting):
        difference = _difference(*(contestants[name].output[1] for name in ("replaced", "plain")))
    return {"length": length, "difference": difference, **figures}


def _step(settings: Settings, way: network.Way) -> Any:
    return jax.value_and_grad(partial(network.loss, way=way, heads=settings.heads))


def _example(settings: Settings, length: int) -> tuple[Any, ...]:
    """Params, and tokens with those after them."""
    sizes = {"layers": settings.layers, "width": settings.width, "vocabulary": settings.vocabulary}
    rng = np.random.default_rng(settings.seed)
    tokens = rng.integers(0, settings.vocabulary, (settings.batch_size, length + 1), np.int32)
    params = network.init(settings.seed, length=length, **sizes)
    return params, jnp.asarray(tokens[:, :-1]), jnp.asarray(tokens[:, 1:])


def _difference(ours: Any, plain: Any) -> float:
    """Of two gradients in their worst leaf, relative to the second."""

    def relative(a: jax.Array, b: jax.Array) -> float:
        return float(jnp.linalg.norm(a - b) / jnp.linalg.norm(b))

    return max(jax.tree.leaves(jax.tree.map(relative, ours, plain)))


def _growth(lengths: tuple[int, ...], numbers: list[int]) -> float:
    """The power of the length by which a number grows, between the last two."""
    (n, m), (few, many) = lengths[-2:], numbers[-2:]
    return float(np.log(many / few) / np.log(m / n))


def _check(settings: Settings) -> None:
    if len(settings.lengths) < 2 or any(b <= a for a, b in pairwise(settings.lengths)):
        raise UserError(f"--lengths was {settings.lengths}; expected two lengths or more, in rising order.")
    if settings.width % settings.heads:
        raise UserError(
            f"--heads was {settings.heads}; expected a number that divides the {settings.width} of --width."
        )
    params = settings.width * (2 * settings.vocabulary + settings.lengths[-1])
    params += 12 * settings.layers * settings.width**2
    memory.require("The study", 4 * 4 * params)  # the params, and a gradient of each way
