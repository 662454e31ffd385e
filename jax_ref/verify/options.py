"""The options of a check: where it looks, what it leaves out, and what it asks for."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypedDict

from jaxtyping import DTypeLike, PyTree

from jax_ref.verify.points.climb import RUNGS

QUICK = ("moved",)
LEVELS = {
    "quick": QUICK,
    "default": RUNGS,
    "thorough": RUNGS * 4,
}
"""The rungs of the ladder that each level climbs."""

PARTS = (
    "forward",
    "linearity",
    "ladder",
    "integers",
    "batches",
    "transforms",
    "devices",
    "reference",
    "diagnosis",
    "shrinking",
)
"""What can be left out with `skip`."""

KINKS = ("undecided", "autodiff")
"""What may be asked for at kinks and ties: nothing, or what JAX says there."""


PRECISION = ("everywhere", "example", "report")
"""Where digits lost by rounding, which autodiff does not lose, are a fault: anywhere, at the example's own
values and in batches of them, or nowhere, so that the report only tells of them."""

ORDERS = (1, 2)
"""Of the derivatives: the gradient, and the gradient of the gradient too."""

Domain = Mapping[str, tuple[float, float]] | Callable[..., Any]
"""Open intervals by path, or a function that makes any arguments valid ones."""

Examples = Sequence[tuple[PyTree, ...]] | Any
"""A list of argument tuples, or a Hypothesis strategy for them."""


class Options(NamedTuple):
    """How a check was asked for."""

    seed: int = 0
    level: str = "default"
    skip: Mapping[str, str] = {}
    kinks: str = "undecided"
    precision: str = "example"
    domain: Domain | None = None
    rtol: float = 0.0
    time_limit: float | None = None
    order: int = 1

    def does(self, part: str) -> bool:
        """Whether a part of `PARTS` is to be done; quick checks do the first two alone."""
        return part not in self.skip and (self.level != "quick" or part in PARTS[:2])


class Asked(TypedDict, total=False):
    """The options as keywords of `check` and of the others, which explains them."""

    seed: int
    level: str
    examples: Examples
    dtypes: Sequence[DTypeLike]
    skip: Mapping[Any, str]
    kinks: str
    precision: str
    domain: Domain
    rtol: float
    time_limit: float
    order: int
    static_argnums: int | Sequence[int]
