"""The runs that rounding at a point is measured by, each made once for all that is compared there."""

import functools
from typing import Any

import numpy as np

from jax_ref.verify.comparison.compare import Key, by_key
from jax_ref.verify.comparison.rounding import Errors
from jax_ref.verify.comparison.sides import Sides
from jax_ref.verify.points import inputs
from jax_ref.verify.points.point import Point
from jax_ref.verify.trees import floats

NEIGHBOURS = 3
"""Points one unit in the last place away, at which autodiff's own error is measured too."""

FURTHER = 8
"""Units in the last place of a second step, by which what is smooth moves as many times as far."""

Leaves = dict[Key, Any]


class NearbyRuns:
    """Both sides at a point and around it, run where they are first asked for."""

    def __init__(self, sides: Sides, point: Point, rng: np.random.Generator):
        self.sides, self.point, self.rng = sides, point, rng
        self.errors = Errors(sides.reference, point, rng)

    @property
    def wide(self) -> bool:
        """Whether all of the point is in float64."""
        return all(x.dtype == np.float64 for x in floats((self.point.args, self.point.d_output)))

    @functools.cached_property
    def oracle_moved(self) -> list[tuple[Leaves, Leaves]]:
        """The oracle one unit away, and several in the same direction."""
        found = []
        for seed in self.rng.integers(2**31, size=NEIGHBOURS):
            one, several = (
                inputs.nearby(self.point.args, np.random.default_rng(seed), units) for units in (1, FURTHER)
            )
            found.append((self._exact(one), self._exact(several)))
        return found

    @functools.cached_property
    def by_autodiff(self) -> list[tuple[Leaves, Leaves]]:
        """Autodiff in the dtypes of the point, and the oracle: there, and one unit away.

        In float64 they are one and the same.
        """
        if self.wide:
            exact = by_key(self.sides.exact(self.point))
            return [(exact, exact)]
        return [(by_key(self.sides.own(p)), by_key(self.sides.exact(p))) for p in (self.point, *self._near())]

    def by_hand(self, path: str) -> list[Any]:
        """The hand-written cotangent of a leaf one unit away."""
        return [self.sides.manual(p)[1][path] for p in self._near()]

    def _near(self) -> list[Point]:
        near = (inputs.nearby(self.point.args, self.rng) for _ in range(NEIGHBOURS))
        return [self.point._replace(args=args) for args in near]

    def _exact(self, args: Any) -> Leaves:
        return by_key(self.sides.exact(self.point._replace(args=args)))
