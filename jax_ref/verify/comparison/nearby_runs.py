"""The runs that rounding at a point is measured by, each made once for all that is compared there."""

import functools
from concurrent.futures import Executor
from typing import Any

import numpy as np

from jax_ref.verify.comparison.compare import Key, by_key
from jax_ref.verify.comparison.rounding import Errors
from jax_ref.verify.comparison.sides import Sides
from jax_ref.verify.points import inputs
from jax_ref.verify.points.point import Point

NEIGHBOURS = 3
"""Points one unit in the last place away, at which autodiff's own error is measured too."""

FURTHER = 8
"""Units in the last place of a second step, by which what is smooth moves as many times as far."""

Leaves = dict[Key, Any]


class NearbyRuns:
    """Both sides at a point and around it, run where they are first asked for."""

    def __init__(
        self,
        sides: Sides,
        point: Point,
        rng: np.random.Generator,
        workers: Executor | None = None,
        coarser: "NearbyRuns | None" = None,
    ):
        self.sides, self.point, self.rng, self.workers, self.coarser = sides, point, rng, workers, coarser
        self.errors = Errors(sides.reference, point, rng)

    def ahead(self) -> None:
        """Let the workers, if there are any, compile what the dearer ones run.

        So too for `coarser`, the point in fewer digits: what rounds in more of them rounds there as well.
        """
        if self.workers:
            self.errors.ahead(self.workers)
            if self.errors.narrow:
                self.sides.own_ahead(self.workers, self.point)
        if self.coarser:
            self.coarser.ahead()

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
        if not self.errors.narrow:
            exact = by_key(self.sides.exact(self.point))
            return [(exact, exact)]
        return [(by_key(self.sides.own(p)), by_key(self.sides.exact(p))) for p in (self.point, *self._near())]

    @functools.cached_property
    def oracle_otherwise(self) -> Leaves:
        """The oracle by another program."""
        return by_key(self.sides.otherwise(self.point))

    def by_hand(self, path: str) -> list[Any]:
        """The hand-written cotangent of a leaf one unit away."""
        return [self.sides.manual(p)[1][path] for p in self._near()]

    def _near(self) -> list[Point]:
        near = (inputs.nearby(self.point.args, self.rng) for _ in range(NEIGHBOURS))
        return [self.point._replace(args=args) for args in near]

    def _exact(self, args: Any) -> Leaves:
        return by_key(self.sides.exact(self.point._replace(args=args)))
