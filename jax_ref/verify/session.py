"""The state of one check: subject, options, both sides compiled, and what was seen and found so far."""

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from jax_ref.verify.clock import Clock
from jax_ref.verify.comparison.compare import Seen
from jax_ref.verify.comparison.sides import Sides
from jax_ref.verify.findings import Finding
from jax_ref.verify.options import Options
from jax_ref.verify.subject import Subject

WORKERS = 2
"""Threads that compile: XLA compiles a program in one, and few machines have fewer than two cores."""


@dataclass
class Session:
    """What the checks read, and the lists that the runner adds to.

    `imprecise` are what is told and no fault, `unjudged` and `untried` the points at which something could
    not be judged, or run, by the reason, and `absent` the leaves that None is returned for.
    """

    subject: Subject
    options: Options
    sides: Sides
    rng: np.random.Generator
    seen: list[Seen] = field(default_factory=list)
    not_linear: list[Finding] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    imprecise: list[Finding] = field(default_factory=list)
    absent: set[str] = field(default_factory=set)
    undecided: list[str] = field(default_factory=list)
    unjudged: dict[str, list[str]] = field(default_factory=dict)
    untried: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)
    workers: Executor = field(default_factory=lambda: ThreadPoolExecutor(WORKERS))
    """What compiles ahead."""
    left: list[str] = field(default_factory=list)
    """What the time was over for."""
    transforms: list[str] = field(default_factory=list)
    """The transforms that were tried."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the arguments."""
        return self.sides.reference.names

    def wrong(self, path: str | None = None) -> bool:
        """Whether a comparison, of one leaf or of any, found a cotangent that is at fault."""
        precision = self.options.precision
        return self.mistaken(path) or any(s.faulty(p, precision) for s, p in self._compared(path))

    def mistaken(self, path: str | None = None) -> bool:
        """The same, of what is more than digits lost by rounding."""
        not_linear = any(path in (None, f.path) for f in self.not_linear)
        return not_linear or any(s.verdict(p) == "wrong" for s, p in self._compared(path))

    def _compared(self, path: str | None) -> Iterator[tuple[Seen, str]]:
        return ((s, p) for s in self.seen for p in s.cotangents if path in (None, p))
