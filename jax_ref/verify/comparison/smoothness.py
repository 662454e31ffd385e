"""Smoothness of the reference around a point, as its derivative tells: at a kink it jumps.

It costs two more runs of the oracle, which is compiled, where the search for kinks compiles a program for
each leaf.
"""

from typing import Any

import jax
import numpy as np

from jax_ref.verify.comparison.sides import Sides
from jax_ref.verify.points.point import Point
from jax_ref.verify.trees import floats, is_floating, widened

STEP = 3 / 4
"""The power of the machine epsilon that is the step: a kink is met nearly exactly, or not at all."""

CHANGE = 1e-4
"""The least change of a leaf's derivative, relative to its largest entry, at which a kink may be near."""


def is_smooth(sides: Sides, point: Point) -> bool:
    """Whether no derivative changes when all arguments move a little to either side."""
    args = widened(point.args)
    if not all(np.all(np.isfinite(x)) for x in floats(args)):
        return False
    rng, step = np.random.default_rng(0), sides.reference.resolution.eps**STEP

    def moved(x: Any, sign: int, signs: Any) -> Any:
        return x + sign * step * signs * np.maximum(1, np.abs(x)) if is_floating(x) else x

    def at(sign: int, signs: Any) -> dict[str, Any]:
        beside = jax.tree.map(lambda x, s: moved(x, sign, s), args, signs)
        return sides.in_float64(point._replace(args=beside))[1]

    signs = jax.tree.map(lambda x: rng.uniform(0.5, 1, np.shape(x)) * rng.choice([-1, 1], np.shape(x)), args)
    here, *there = (at(sign, signs) for sign in (0, 1, -1))
    return all(_unchanged(np.asarray(here[path]), np.asarray(near[path])) for near in there for path in here)


def _unchanged(here: np.ndarray, near: np.ndarray) -> bool:
    """Entries that are not finite count as changed."""
    largest = np.max(np.abs(here), initial=0.0)
    with np.errstate(invalid="ignore"):
        return bool(np.all(np.abs(near - here) <= CHANGE * largest))
