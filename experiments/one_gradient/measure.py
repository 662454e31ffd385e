"""All differences and costs on digits, then how the cost grows with the width and with the depth."""

import dataclasses
from functools import partial
from itertools import pairwise
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from experiments import data
from experiments.common import errors, memory, study, timing
from experiments.common.errors import UserError
from experiments.common.options import Count, OneOf
from experiments.one_gradient import growth
from experiments.one_gradient.growth import LAYERS, WIDTH
from experiments.one_gradient.ways import HEADS, difference, ways
from manual_bp.models import mlp
from manual_bp.textbook import columns, paths

ROUTES = 300_000
"""Routes that the path form may have to list for one weight."""


@dataclasses.dataclass(frozen=True)
class Settings(study.Settings):
    """What this study can be told."""

    head: Annotated[str, OneOf(HEADS)] = "cross_entropy"
    """Output and cost: softmax with cross_entropy, sigmoid with quadratic."""
    hidden: tuple[Count, ...] = (6, 5)
    """Widths of the hidden layers, of sigmoids, between 64 inputs and 10 outputs."""
    examples: Count = 8
    """Digits that the cost averages over."""
    path_widths: tuple[Count, ...] = (4, 8, 16, 24, 32, 48, 64)
    """Widths of networks of three layers that the path form is timed on."""
    index_widths: tuple[Count, ...] = (4, 6, 8, 12)
    """The same for the index form."""
    vector_widths: tuple[Count, ...] = (4, 16, 64, 128, 256, 512, 1024)
    """The same for the vector form."""
    depths: tuple[Count, ...] = (2, 4, 6, 7, 8)
    """Numbers of layers of networks of width four that the path form and the vector form are timed on."""
    rounds: Count = 7
    """Times that each is timed; the fastest counts, as other work on the machine only slows."""


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
    how = growth.Timing(settings.head, settings.seed, settings.rounds)
    by_form = {form: getattr(settings, f"{form}_widths") for form in growth.TIMED}
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
                "name": way.name,
                "jitted": way.jitted,
                "seconds": s,
                "multiplications": way.multiplications * settings.examples,
            }
            for (key, way), s in zip(found.items(), seconds, strict=True)
        },
        "by_width": growth.by_width(how, by_form),
        "by_depth": growth.by_depth(how, settings.depths),
    }


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
    widest = max(*settings.vector_widths, *settings.index_widths, *widths)
    memory.require(f"A network with layers of {widest} neurons", 2 * 8 * widest**2)
    wide, deep = (settings.path_widths[-1],) * (LAYERS + 1), (WIDTH,) * (settings.depths[-1] + 1)
    for option, shape in {"hidden": widths, "path-widths": wide, "depths": deep}.items():
        routes = paths.count(shape, 1, output=HEADS[settings.head].notes["output"])
        if routes > ROUTES:
            raise UserError(f"--{option} has {routes:,} paths for one weight; expected {ROUTES:,} at most.")
