"""Comparison of both sides at one point, leaf by leaf: the error, and the largest error that is allowed."""

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import DTypeLike

from jax_ref.verify.comparison import tolerance
from jax_ref.verify.comparison.resolution import coarser
from jax_ref.verify.comparison.sides import Gradient, Sides
from jax_ref.verify.findings import IMPRECISE
from jax_ref.verify.points.point import Point
from jax_ref.verify.trees import dtype_of, float64, floats, is_floating


@dataclass(frozen=True, eq=False)
class Compared:
    """One leaf, or the output, at one point: what was found, what is right, and the distance allowed."""

    actual: np.ndarray
    exact: np.ndarray
    bound: float
    dtype: DTypeLike = np.float64
    """The dtype whose digits are asked for; of integers and booleans their own."""
    corrected: np.ndarray | bool = False
    """Where the right one is not autodiff's."""

    @functools.cached_property
    def finite(self) -> bool:
        """Whether it is finite where the right one is."""
        return bool(np.all(np.isfinite(self.actual[np.isfinite(self.exact)])))

    @functools.cached_property
    def error(self) -> float:
        """The distance where the right one is a number; infinite where a finite entry is not."""
        known = ~np.isnan(self.exact)
        return tolerance.distance(self.actual[known], self.exact[known]) if self.finite else float("inf")

    def away(self, autodiff: Any) -> float:
        """The distance of another result of autodiff from the right one, but where that is corrected."""
        return tolerance.distance(np.where(self.corrected, self.exact, float64(autodiff)), self.exact)

    @property
    def wrong(self) -> bool:
        """Whether the distance is more than allowed; a bound of NaN allows all that is finite."""
        return not self.finite or self.error > self.bound

    @property
    def relative(self) -> float:
        """The error, as a share of the norm of the right one."""
        return self.error / max(tolerance.size(self.exact), 1e-150)


@dataclass(frozen=True, eq=False)
class Seen:
    """One point with what was found there, by path; hashed by identity, so that results of it are cached.

    `wider` is the same point in a finer dtype, where what is left of an error is no rounding. `rounded` are
    the paths whose error shrinks with the digits, as it is seen to in a coarser one.
    """

    point: Point
    cotangents: dict[str, Compared]
    wider: "Seen | None" = None
    rounded: frozenset[str] = frozenset()

    def verdict(self, path: str) -> str:
        """Right, wrong, or imprecise: right but for more rounding than is allowed."""
        here = self.cotangents[path]
        if self.wider and self.wider.cotangents[path].wrong:
            return "wrong"
        if not here.wrong:
            return "right"
        return IMPRECISE if here.finite and (self.wider or path in self.rounded) else "wrong"

    @property
    def only_in(self) -> str:
        """Where it is seen, if it is by the wider dtype alone."""
        return f"seen in {floats(self.wider.point.args)[0].dtype}" if self.wider else ""

    def faulty(self, path: str, precision: str) -> bool:
        """Whether the verdict is a fault, with lost digits one as `options.PRECISION` says."""
        verdict = self.verdict(path)
        counts = precision == "everywhere" or (precision == "example" and self.point.given)
        return verdict == "wrong" or (verdict == IMPRECISE and counts)


class Key(NamedTuple):
    """A leaf of a gradient: one of the output, as `output[0]`, or the cotangent of one of the arguments."""

    part: str
    path: str


def by_key(gradient: Gradient) -> dict[Key, Any]:
    """The leaves of an output and of the cotangents, or what else has their structure."""
    output, cotangents = gradient
    leaves = jax.tree.leaves(output)
    paths = [f"output[{i}]" for i in range(len(leaves))] if len(leaves) > 1 else ["output"]
    outputs = {Key("output", path): leaf for path, leaf in zip(paths, leaves, strict=True)}
    return outputs | {Key("cotangent", path): leaf for path, leaf in cotangents.items()}


def compare(sides: Sides, point: Point, digits: DTypeLike = np.float64) -> dict[Key, Compared]:
    """Every leaf of the hand-written output and cotangents against the oracle.

    The bound is that for rounding at the end; `allowances` adds what else rounding may do. No more digits
    are asked for than the oracle has, nor than `digits` has. Integers and booleans of an output must be those
    of the reference in the same dtype. An infinity counts as the number it stands for, beyond the dtype's
    range.
    """
    manual, exact = by_key(sides.manual(point)), by_key(sides.exact(point))
    size = d_output_and_largest(point)
    found = {}
    for key, x in manual.items():
        actual, right = float64(x), float64(exact[key])
        if not is_floating(x):
            found[key] = Compared(actual, right, 0.0, dtype_of(x))
            continue
        dtype = coarser(coarser(x.dtype, sides.reference.resolution.dtype), digits)
        out_of_range = ~np.isfinite(actual) & np.isfinite(right) & tolerance.beyond(right, x.dtype)
        actual = np.where(out_of_range, right, actual)
        d_output = np.ones(right.shape) if key.part == "output" else size[0]
        if dtype == np.float64:
            bound = tolerance.bound64(right, d_output, size[1])
        else:
            bound = tolerance.bound(right, 0.0, dtype, d_output, size[1])
        found[key] = Compared(actual, right, bound, dtype)
    return found


def d_output_and_largest(point: Point) -> tuple[np.ndarray, float]:
    """All cotangents of the output in a row, and the largest magnitude among the arguments."""
    largest = max((float(np.max(np.abs(float64(x)), initial=0)) for x in floats(point.args)), default=1.0)
    return np.concatenate([float64(x).ravel() for x in floats(point.d_output)]), largest
