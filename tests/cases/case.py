"""An op beside its reference, and examples of each kind of call, in several leading shapes.

An example's values come from a generator seeded by its own name, so that a new row changes no other's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np

import jax_ref
from manual_bp import ops
from manual_bp.bridge import Op

LEADS = ((7,), (1,), (3, 2))
"""Leading shapes: an odd batch, a batch of one, two axes."""

FLAT = LEADS[:2]
"""Those for a call to which a second axis is nothing new."""


@dataclass(frozen=True)
class Draw:
    """Random arguments, floating point ones in float64: the tests cast them."""

    rng: np.random.Generator

    def real(self, *shape: int) -> np.ndarray:
        """Normal values."""
        return self.rng.normal(size=shape)

    def labels(self, shape: tuple[int, ...], classes: int) -> np.ndarray:
        """Labels 0..classes-1."""
        return self.rng.integers(0, classes, shape)

    def mask(self, *shape: int) -> np.ndarray:
        """A mask that allows about half, and nothing in its first row."""
        allowed = self.rng.random(shape) < 0.5
        allowed[..., 0, :] = False
        return allowed


class Kind(NamedTuple):
    """One way to call an op: with which arguments, and which static options.

    `full` says that this way has arithmetic of its own. The first kind of an op is full in any case.
    """

    name: str
    make: Callable[[Draw, tuple[int, ...]], tuple[Any, ...]]
    static: Mapping[str, Any] = {}
    full: bool = False
    leads: tuple[tuple[int, ...], ...] = LEADS


class Example(NamedTuple):
    """Arguments of `fwd` in one leading shape, and its static options.

    `full` where everything is checked; elsewhere the values in float64 are. `draw(seed)` makes other
    arguments like `args`.
    """

    args: tuple[Any, ...]
    static: dict[str, Any]
    lead: tuple[int, ...]
    kind: str
    full: bool
    draw: Callable[[int], tuple[Any, ...]]

    def __str__(self) -> str:
        """The kind and the leading shape, as in `mask-3x2`."""
        return f"{self.kind}-{'x'.join(map(str, self.lead))}"

    def __repr__(self) -> str:
        """Shapes, not values: the tests draw their own."""
        return f"Example {self}: {jax.tree.map(np.shape, self.args)}, {self.static}"


class Case(NamedTuple):
    """The name of an op or model, or `family.member`; the two packages that have it; its examples."""

    name: str
    packages: tuple[ModuleType, ModuleType]
    examples: tuple[Example, ...]

    @property
    def op(self) -> Op:
        """The hand-written pair."""
        return self._of(self.packages[0])

    @property
    def reference(self) -> Callable[..., Any]:
        """The plain function with the signature of the pair's `fwd`."""
        found = self._of(self.packages[1])
        return found.apply if isinstance(found, ModuleType) else found

    def _of(self, package: Any) -> Any:
        for part in self.name.split("."):
            package = getattr(package, part)
        return package

    def __repr__(self) -> str:
        """The name stands for the case."""
        return f"Case {self.name}"


def cases(
    kinds: Mapping[str, Sequence[Kind]], packages: tuple[ModuleType, ModuleType] = (ops, jax_ref.ops)
) -> dict[str, Case]:
    """A case for each name, with an example of each kind in each of its leading shapes."""
    return {name: Case(name, packages, _examples(name, given)) for name, given in kinds.items()}


def _examples(name: str, kinds: Sequence[Kind]) -> tuple[Example, ...]:
    first = kinds[0]
    return tuple(
        _example(name, kind, lead, full=(kind is first or kind.full) and lead == kind.leads[0])
        for kind in kinds
        for lead in kind.leads
    )


def _example(name: str, kind: Kind, lead: tuple[int, ...], full: bool) -> Example:
    def draw(seed: int) -> tuple[Any, ...]:
        key = f"{name} {kind.name} {lead} {seed}".encode()
        return kind.make(Draw(np.random.default_rng(list(key))), lead)

    return Example(draw(0), dict(kind.static), lead, kind.name, full, draw)
