"""The options of a check: seed, level, what is left out, and what is asked for at kinks and of digits."""

from collections.abc import Mapping
from typing import NamedTuple

from jax_ref.verify.points.climb import RUNGS

QUICK = ("moved",)
LEVELS = {
    "quick": QUICK,
    "default": RUNGS,
    "thorough": RUNGS * 4,
}
"""The rungs of the ladder that each level climbs."""

PARTS = ("forward", "linearity", "ladder", "integers", "batches", "transforms", "reference", "shrinking")
"""What can be left out with `skip`."""

KINKS = ("undecided", "autodiff")
"""What may be asked for at kinks and ties: nothing, or what JAX says there."""


PRECISION = ("everywhere", "example", "report")
"""Where digits lost by rounding, which autodiff does not lose, are a fault: anywhere, at the example's own
values and in batches of them, or nowhere, so that the report only tells of them."""


class Options(NamedTuple):
    """How a check was asked for."""

    seed: int = 0
    level: str = "default"
    skip: Mapping[str, str] = {}
    kinks: str = "undecided"
    precision: str = "example"

    def does(self, part: str) -> bool:
        """Whether a part of `PARTS` is to be done; quick checks do the first two alone."""
        return part not in self.skip and (self.level != "quick" or part in PARTS[:2])
