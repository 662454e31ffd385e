"""Comparison of both sides at one point, leaf by leaf: the error, and the largest error that is allowed."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np

from jax_ref.verify.comparison import tolerance
from jax_ref.verify.comparison.resolution import coarser
from jax_ref.verify.comparison.sides import Gradient, Sides
from jax_ref.verify.points import inputs
from jax_ref.verify.points.point import Point
from jax_ref.verify.trees import float64, floats, is_floating

NEIGHBOURS = 3
"""Points one unit in the last place away, at which autodiff's own error is measured too."""


class Compared(NamedTuple):
    """One leaf, or the output, at one point: what was found, what is right, and the distance allowed."""

    actual: np.ndarray
    exact: np.ndarray
    bound: float

    @property
    def error(self) -> float:
        """The distance; infinite where a finite entry is not."""
        if not np.all(np.isfinite(self.actual[np.isfinite(self.exact)])):
            return float("inf")
        return tolerance.distance(self.actual, self.exact)

    @property
    def wrong(self) -> bool:
        """Whether the distance is more than allowed; a bound of NaN allows all."""
        return self.error > self.bound


@dataclass(frozen=True, eq=False)
class Seen:
    """One point with what was found there, by path; hashed by identity, so that results of it are cached."""

    point: Point
    cotangents: dict[str, Compared]


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


def compare(sides: Sides, point: Point, rng: np.random.Generator) -> dict[Key, Compared]:
    """Every leaf of the hand-written output and cotangents against the oracle.

    Beside what `tolerance` allows, a result may stray twice as far as the oracle does when the arguments
    move by a unit in the last place, as does every computation that rounds on the way. No more digits are
    asked for than the oracle has. Integers and booleans of an output must be those of the reference in the
    same dtype.
    """
    near = [point, *(point._replace(args=inputs.nearby(point.args, rng)) for _ in range(NEIGHBOURS))]
    manual = by_key(sides.manual(point))
    oracles = [by_key(sides.exact(p)) for p in near]
    exact = {key: float64(oracles[0][key]) for key in manual}
    dtypes = {
        key: coarser(x.dtype, sides.reference.resolution.dtype) for key, x in manual.items() if is_floating(x)
    }
    largest = max((float(np.max(np.abs(float64(x)), initial=0)) for x in floats(point.args)), default=1.0)
    d_outputs = np.concatenate([float64(x).ravel() for x in floats(point.d_output)])

    def bound(key: Key, autodiff_error: float) -> float:
        """The distance allowed where autodiff in the dtypes of the point is so far from the oracle."""
        if key not in dtypes:
            return 0.0
        moved = 2 * max(tolerance.distance(float64(o[key]), exact[key]) for o in oracles[1:])
        d_output = np.ones(exact[key].shape) if key.part == "output" else d_outputs
        if dtypes[key] == np.float64:
            return tolerance.bound64(exact[key], d_output, largest) + moved
        return tolerance.bound(exact[key], autodiff_error, dtypes[key], d_output, largest) + moved

    found = {key: Compared(float64(x), exact[key], bound(key, 0.0)) for key, x in manual.items()}
    doubtful = [key for key, c in found.items() if c.wrong and dtypes.get(key) != np.float64]
    own = [by_key(sides.own(p)) for p in near] if doubtful else []  # compiled only where it is needed
    for key in doubtful:
        if key in dtypes:
            pairs = zip(own, oracles, strict=True)
            strays = max(tolerance.distance(float64(a[key]), float64(o[key])) for a, o in pairs)
            found[key] = found[key]._replace(bound=bound(key, strays))
        else:
            found[key] = found[key]._replace(exact=float64(own[0][key]))
    return found
