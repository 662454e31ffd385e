"""Ties inside a smooth function: entries whose derivative autodiff has wrong, as differences tell.

max(x, 0) + log(1 + exp(-|x|)) is smooth at 0, its parts are not: autodiff takes a convention for each of
them, and they add up to a slope that the function does not have. On both sides of such a point, a small step
away, it has the slope right, and nearly the same; at a kink the two differ.
"""

from typing import NamedTuple

import numpy as np

from jax_ref.verify.comparison import kinks
from jax_ref.verify.comparison.sides import Sides
from jax_ref.verify.points.inputs import shifted
from jax_ref.verify.points.point import Point
from jax_ref.verify.trees import float64, widened

STEP = 0.75
"""The power of the machine epsilon that is the step: enough to break ties, too little to get round a bend."""

APART = 1e-3
"""The least distance of autodiff from its sides that is looked into, as a share of the largest entry."""

EXACT = 1e-10
"""How far the mean of both sides may be from the slope, as a share of the largest entry."""

AGREE = 0.1
"""How far the differences may be from the slope beside, as a share of its distance from autodiff's."""


class Tie(NamedTuple):
    """Entries of a leaf at which autodiff is wrong, the slopes there, and how far those may be off."""

    entries: np.ndarray
    slopes: np.ndarray
    error: float


def at(sides: Sides, point: Point, rng: np.random.Generator) -> dict[str, Tie]:
    """The ties among the arguments' entries at a point, by leaf."""
    wide = point._replace(args=widened(point.args), d_output=widened(point.d_output))
    steps = shifted(wide.args, rng, sides.reference.resolution.eps**STEP)
    above, below = (sides.in_float64(wide._replace(args=args))[1] for args in steps)
    found = {}
    for path, c in sides.in_float64(wide)[1].items():
        slope, up, down = float64(c), float64(above[path]), float64(below[path])
        with np.errstate(invalid="ignore"):
            mean, spread = (up + down) / 2, np.abs(up - down)
            off = np.abs(slope - mean)
        known = np.isfinite(slope) & np.isfinite(mean)
        largest = float(np.max(np.abs(mean), initial=0.0, where=known))
        entries = np.flatnonzero(known & (off > spread + APART * largest))[: kinks.LIMIT]
        smooth = _smooth(sides, wide, path, slope, mean, entries) if entries.size else entries
        if smooth.size:
            mask = np.isin(np.arange(slope.size), smooth).reshape(slope.shape)
            error = float(np.linalg.norm(spread[mask])) + EXACT * largest * float(np.sqrt(mask.sum()))
            found[path] = Tie(mask, np.where(mask, mean, slope), error)
    return found


def _smooth(
    sides: Sides, point: Point, path: str, slope: np.ndarray, beside: np.ndarray, entries: np.ndarray
) -> np.ndarray:
    """Those of the entries along which the differences to both sides are the slope beside, and not that here.

    At a jump of the function they are not: they are the larger the smaller the step.
    """
    left, right, noise = kinks.one_sided(sides.reference, point, path, entries)
    slope, beside = slope.ravel()[entries], beside.ravel()[entries]
    off = np.abs(slope - beside)
    apart = np.maximum(np.abs(left - beside), np.abs(right - beside))
    return entries[(apart <= AGREE * off) & (off > noise)]
