"""The state of one check: subject, options, both sides compiled, and what was seen and found so far."""

from dataclasses import dataclass, field

import numpy as np

from jax_ref.verify.comparison.compare import Seen
from jax_ref.verify.comparison.sides import Sides
from jax_ref.verify.findings import Finding
from jax_ref.verify.options import Options
from jax_ref.verify.subject import Subject


@dataclass
class Session:
    """What the checks read, and the lists that the runner adds to."""

    subject: Subject
    options: Options
    sides: Sides
    rng: np.random.Generator
    seen: list[Seen] = field(default_factory=list)
    not_linear: list[Finding] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the arguments."""
        return self.sides.reference.names

    def wrong(self, path: str | None = None) -> bool:
        """Whether a comparison, of one leaf or of any, found a cotangent that is not right."""
        not_linear = any(path in (None, f.path) for f in self.not_linear)
        compared = (c for s in self.seen for p, c in s.cotangents.items() if path in (None, p))
        return not_linear or any(c.wrong for c in compared)
