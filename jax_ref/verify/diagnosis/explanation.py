"""What a description of a mistake is: a prediction of the wrong cotangent from the right one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jax_ref.verify.comparison.compare import Seen
from jax_ref.verify.comparison.sides import Sides

AT_KINKS = ("rounded", "zero rows")
"""Rungs of the ladder where zeros and ties are met."""


def off_kinks(seen: list[Seen]) -> list[Seen]:
    """Those without many zeros and ties, if there are any: at these, much is right or wrong by chance."""
    return [s for s in seen if s.point.name not in AT_KINKS] or seen


class Context(NamedTuple):
    """What descriptions are made from.

    `group` says which of the arguments' leaves have the batch as leading axis; `kept` is what was computed
    for other leaves, by the identity of a `Seen`.
    """

    reference: Callable[..., Any]
    names: tuple[str, ...]
    both: Sides
    group: tuple[int, ...]
    kept: dict[int, Any]


class Explanation(NamedTuple):
    """A description, and the cotangent that it predicts from the right one; None where it cannot be."""

    kind: str
    text: str
    predict: Callable[[Seen], np.ndarray | None]
