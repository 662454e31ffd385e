"""Explanations: a cotangent predicted from the right one, with the kind and the text of the finding."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from jax_ref.verify.clock import Clock
from jax_ref.verify.comparison.compare import Seen
from jax_ref.verify.comparison.reference import Reference
from jax_ref.verify.comparison.sides import Sides
from jax_ref.verify.diagnosis.contributions import Contributions
from jax_ref.verify.points.ladder import AT_KINKS


class Explanation(NamedTuple):
    """A description, and the cotangent that it predicts from the right one; None where it cannot be."""

    kind: str
    text: str
    predict: Callable[[Seen], np.ndarray | None]


class Context(NamedTuple):
    """What explanations are made from, beside what was seen; all of it the same for all leaves.

    `mistaken` gives the gradients that come of each mistake in a step of the reference, of those that take a
    statistic for a constant or of the others; `contributions` what single entries of the output give;
    `with_other_values` the gradients by other values in a derivative, `with_other_axes` by sums over other
    axes, and `values` what the steps of the reference give. `batched` are the numbers of the arguments'
    leaves that have the batch as leading axis.
    """

    sides: Sides
    clock: Clock
    mistaken: Callable[[Seen, bool], Mapping[Any, dict[str, np.ndarray]]]
    contributions: Callable[[Seen], Contributions]
    with_other_values: Callable[[Seen], Mapping[str, dict[str, np.ndarray]]]
    with_other_axes: Callable[[Seen], Any]
    values: Callable[[Seen], dict[str, np.ndarray]]
    batched: tuple[int, ...] = ()

    @property
    def reference(self) -> Reference:
        """The reference that both sides are of."""
        return self.sides.reference


def off_kinks(seen: list[Seen]) -> list[Seen]:
    """Those without many zeros and ties, if there are any: at these, much is right or wrong by chance."""
    return [s for s in seen if s.point.name not in AT_KINKS] or seen


def one_or_two_axes(ndim: int) -> Iterator[tuple[int, ...]]:
    """Each axis, then each pair of them."""
    return itertools.chain.from_iterable(itertools.combinations(range(ndim), count) for count in (1, 2))
