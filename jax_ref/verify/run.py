"""What the parts of one check share: how it was asked for, and what they have found so far."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from jax_ref.verify import points
from jax_ref.verify.change import Seen
from jax_ref.verify.evaluate import Sides
from jax_ref.verify.report import Finding
from jax_ref.verify.subject import Subject

QUICK = ("moved",)
LEVELS = {
    "quick": QUICK,
    "default": tuple(points.LADDER),
    "thorough": tuple(points.LADDER) * 4,
}
"""The rungs of the ladder that each level climbs."""

PARTS = ("forward", "linearity", "ladder", "batches", "transforms", "reference", "shrinking")
"""What can be left out with `skip`."""

KINKS = ("undecided", "autodiff")
"""What may be asked for at kinks and ties: nothing, or what JAX says there."""


class Settings(NamedTuple):
    """The options of a check."""

    seed: int = 0
    level: str = "default"
    skip: Mapping[str, str] = {}
    kinks: str = "undecided"

    def does(self, part: str) -> bool:
        """Whether a part of `PARTS` is to be done; quick checks do the first two alone."""
        return part not in self.skip and (self.level != "quick" or part in PARTS[:2])


class Run(NamedTuple):
    """One check on its way."""

    subject: Subject
    settings: Settings
    names: tuple[str, ...]
    both: Sides
    rng: np.random.Generator
    seen: list[Seen]
    not_linear: list[Finding]
    findings: list[Finding]
    undecided: list[str]
    notes: list[str]

    def wrong(self, path: str | None = None) -> bool:
        """Whether a comparison, of one leaf or of any, found a cotangent that is not right."""
        bent = any(path in (None, f.path) for f in self.not_linear)
        compared = (c for s in self.seen for p, c in s.cotangents.items() if path in (None, p))
        return bent or any(c.wrong for c in compared)
