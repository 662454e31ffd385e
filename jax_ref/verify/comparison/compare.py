"""Both sides at one point: how far the hand-written gradient is from the oracle, and how far it may be."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.comparison import resolution, tolerance
from jax_ref.verify.comparison.sides import Sides, _own, exact, manual
from jax_ref.verify.points import inputs
from jax_ref.verify.points.point import Point
from jax_ref.verify.trees import float64, floats, is_floating

NEIGHBOURS = 3
"""Points one unit in the last place away, at which autodiff's own error is measured too."""


class Compared(NamedTuple):
    """One leaf, or the output, at one point: what was found, what is right, and the distance allowed."""

    actual: np.ndarray
    exact: np.ndarray
    bound: float

    @property
    def error(self) -> float:
        """The distance; infinite where a finite entry is not."""
        if not np.all(np.isfinite(self.actual[np.isfinite(self.exact)])):
            return float("inf")
        return tolerance.distance(self.actual, self.exact)

    @property
    def wrong(self) -> bool:
        """Whether the distance is more than allowed; a bound of NaN allows all."""
        return self.error > self.bound


class Seen(NamedTuple):
    """One point with what was found there, by path."""

    point: Point
    cotangents: dict[str, Compared]


def compare(
    both: Sides, point: Point, rng: np.random.Generator
) -> tuple[list[Compared], dict[str, Compared]]:
    """The output's leaves, and each argument's leaf by its path, against the oracle.

    Beside what `tolerance` allows, a result may stray twice as far as the oracle does when the arguments
    move by a unit in the last place: nobody can do better who rounds on the way. No more digits are asked for
    than the oracle has.
    """
    output, cotangents = manual(both, point)
    near = [point, *(point._replace(args=inputs.nearby(point.args, rng)) for _ in range(NEIGHBOURS))]
    oracles = [exact(both, p) for p in near]
    largest = max((float(np.max(np.abs(float64(x)), initial=0)) for x in floats(point.args)), default=1.0)

    @functools.cache
    def own() -> list[Any]:
        """Autodiff in the dtypes of the point: compiled only for what needs its leave."""
        return [_own(both, p) for p in near]

    def compared(pick: Callable[[Any], Any], cotangent: PyTree) -> Compared:
        truth, actual = float64(pick(oracles[0])), pick((output, cotangents))
        moved = 2 * max(tolerance.distance(float64(pick(o)), truth) for o in oracles[1:])
        dtype = resolution.coarser(actual.dtype, both.resolution.dtype)
        if dtype == np.float64:
            return Compared(float64(actual), truth, tolerance.bound64(truth, cotangent, largest) + moved)

        def within(autodiff_error: float) -> Compared:
            allowed = tolerance.bound(truth, autodiff_error, dtype, cotangent, largest)
            return Compared(float64(actual), truth, allowed + moved)

        return within(_furthest(pick, own(), oracles)) if within(0.0).wrong else within(0.0)

    def equal(pick: Callable[[Any], Any]) -> Compared:
        """Integers and booleans of an output, which must be those of the reference in the same dtype."""
        actual, truth = float64(pick((output, cotangents))), float64(pick(oracles[0]))
        if np.any(actual != truth):
            truth = float64(pick(own()[0]))
        return Compared(actual, truth, 0.0)

    size = np.concatenate([float64(x).ravel() for x in floats(point.d_output)])
    outputs = []
    for i, leaf in enumerate(jax.tree.leaves(output)):
        pick = lambda side, i=i: jax.tree.leaves(side[0])[i]  # noqa: E731
        outputs.append(compared(pick, np.ones(leaf.shape)) if is_floating(leaf) else equal(pick))
    return outputs, {path: compared(lambda side, p=path: side[1][p], size) for path in cotangents}


def _furthest(pick: Callable[[Any], Any], own: list[Any], oracles: list[Any]) -> float:
    """How far autodiff strays from the oracle at most; NaN where it is not finite itself."""
    pairs = zip(own, oracles, strict=True)
    return max(tolerance.distance(float64(pick(a)), float64(pick(o))) for a, o in pairs)
