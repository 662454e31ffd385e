"""Allowances for rounding, measured where a distance is more than the rounding of the result alone.

From the cheapest to the dearest: what a unit in the last place of the arguments does, how far autodiff in the
dtypes of the point is from the oracle itself, what errors in every step of the reference do, and how far the
oracle is from itself when it is compiled in another way. What is asked for is no further than a
float32-accumulating backward is, which rounds each of its steps once.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from jax_ref.verify.comparison import rounding, tolerance
from jax_ref.verify.comparison.compare import Compared, Key, d_output_and_largest
from jax_ref.verify.comparison.nearby_runs import FURTHER, NearbyRuns
from jax_ref.verify.points.point import Point
from jax_ref.verify.trees import float64, floats, is_floating, is_floating_dtype

JUMP = 1e-6
"""The least move of an entry, as a share of the largest, that may be a tie that is broken."""

MISTAKE = 1e-3
"""The share of a norm, or of the cotangent's of the output, that float64 does not lose by rounding."""

FAR = 10
"""How many times the bound a distance is for which all allowances will be asked, by all likelihood."""

Found = dict[Key, Compared]
Measure = Callable[[NearbyRuns, Found], Found]


def added(runs: NearbyRuns, found: Found) -> Found:
    """What was found, with allowances until nothing is wrong, or there are no more."""
    for measure in MEASURES:
        doubtful = {key: c for key, c in found.items() if c.wrong}
        if not doubtful:
            break
        far = (c for c in doubtful.values() if c.error > FAR * c.bound and not _is_mistake(runs, c))
        if measure != MEASURES[0] and any(far):
            runs.ahead()
        found = found | measure(runs, doubtful)
    return found


def all_added(runs: NearbyRuns, path: str, c: Compared) -> Compared:
    """One cotangent with all allowances, whether it is wrong or not."""
    key = Key("cotangent", path)
    for measure in MEASURES:
        c = measure(runs, {key: c})[key]
    return c


def of_arguments(runs: NearbyRuns, path: str, c: Compared) -> Compared:
    """One cotangent with the cheapest allowance, whether it is wrong or not."""
    key = Key("cotangent", path)
    return _of_arguments(runs, {key: c})[key]


def of_transforms(runs: NearbyRuns, path: str, c: Compared) -> Compared:
    """One cotangent with all allowances, and what a unit in the last place does to the hand-written side."""
    moved = max(tolerance.distance(x, c.actual) for x in runs.by_hand(path))
    return _wider(all_added(runs, path, c), moved)


def for_digits(runs: NearbyRuns, found: Found) -> Found:
    """Allowances for what is right in a finer dtype, so that only its digits are asked about.

    What is shorter than float32 is allowed the largest of them, not their sum: a unit in the last place of so
    few digits is no small change of the arguments, and several of them are much of the norm.
    """
    few = {key: replace(c, bound=_of_result(c)) for key, c in short(found).items() if c.finite}
    found = added(runs, {key: c for key, c in found.items() if key not in few}) | few
    for measure in (_of_autodiff, _of_steps_once):
        doubtful = {key: c for key, c in few.items() if found[key].wrong}
        if doubtful:
            allowed = measure(runs, {key: replace(c, bound=0.0) for key, c in doubtful.items()})
            found |= {key: replace(c, bound=max(c.bound, found[key].bound)) for key, c in allowed.items()}
    return found


def short(found: Found) -> Found:
    """What has fewer digits than float32."""
    return {k: c for k, c in found.items() if is_floating_dtype(c.dtype) and jnp.finfo(c.dtype).bits < 32}


def _of_result(c: Compared) -> float:
    """The bound with a single unit in the last place, as of a result that is rounded once."""
    return c.bound - (tolerance.ULPS - 1) * float(jnp.finfo(c.dtype).eps) * tolerance.size(c.exact)


def _of_arguments(runs: NearbyRuns, found: Found) -> Found:
    """Twice as far as the oracle moves with the arguments, as does every computation that rounds.

    A tie that is broken is no rounding: there it moves as far with one unit as with several.
    """

    def smooth(c: Compared, one: Any, several: Any) -> float:
        near = np.where(c.corrected, c.exact, float64(one))
        with np.errstate(invalid="ignore"):
            off, on = np.abs(near - c.exact), np.abs(float64(several) - float64(one)) / (FURTHER - 1)
            largest = np.max(np.abs(c.exact), initial=0.0, where=np.isfinite(c.exact))
            jumps = (off > JUMP * largest) & (on < off / FURTHER)
        return tolerance.distance(np.where(jumps, c.exact, near), c.exact)

    return {
        key: _wider(c, 2 * max(smooth(c, one[key], several[key]) for one, several in runs.oracle_moved))
        for key, c in found.items()
    }


def _of_autodiff(runs: NearbyRuns, found: Found) -> Found:
    """Twice as far as autodiff in the dtypes of the point is from the oracle, there and nearby.

    Where autodiff is not finite it says nothing of how far a finite result may be. A result that is not
    finite either is wrong, but for one thing: where the output overflows too, nothing is judged.
    """
    if all(c.dtype == np.float64 for c in found.values()):
        return found
    pairs = runs.by_autodiff
    own, exact = pairs[0]
    neither = {key: ~np.isfinite(c.actual) & ~np.isfinite(float64(own[key])) for key, c in found.items()}
    outside = _is_outside(runs.point, own, exact) or any(
        np.any(both & np.isfinite(found[key].exact)) for key, both in neither.items() if key.part == "output"
    )
    measured = {}
    for key, c in found.items():
        if not is_floating_dtype(c.dtype):
            measured[key] = replace(c, exact=float64(own[key]))
        elif c.dtype == np.float64:
            measured[key] = c
        else:
            if outside:
                c = replace(c, exact=np.where(neither[key], np.nan, c.exact))
            strays = max(_stray(c, a[key], o[key]) for a, o in pairs)
            measured[key] = _wider(c, 2 * strays)
    return measured


def _is_outside(point: Point, own: dict[Key, Any], exact: dict[Key, Any]) -> bool:
    """Whether an argument or the true output is beyond the range of its dtype."""
    outputs = {key: x for key, x in own.items() if key.part == "output" and is_floating(x)}
    finite = all(np.all(np.isfinite(float64(x))) for x in floats(point.args))
    return not finite or any(np.any(tolerance.beyond(exact[key], x.dtype)) for key, x in outputs.items())


def _stray(c: Compared, own: Any, exact: Any) -> float:
    """How far autodiff in the dtypes of a point is from that in float64, but where neither is right."""
    own, exact = float64(own), float64(exact)
    return tolerance.distance(own, np.where(c.corrected, own, exact))


def _of_steps(runs: NearbyRuns, found: Found) -> Found:
    """What rounding of the steps may do, several times over: another program rounds elsewhere.

    To measure it compiles a program for each shape. What no rounding does is wrong without that.
    """
    doubtful = {key: c for key, c in found.items() if not _is_mistake(runs, c)}
    return found | rounding.allowed_for(runs.errors, doubtful) if doubtful else found


def _is_mistake(runs: NearbyRuns, c: Compared) -> bool:
    """Whether it is off by more than rounding in float64 may come to near an example's own values."""
    near = runs.point.given or runs.point.name == "moved"
    large = max(tolerance.size(c.exact), tolerance.size(d_output_and_largest(runs.point)[0]))
    return near and not runs.errors.narrow and c.error > MISTAKE * large


def _of_compilation(runs: NearbyRuns, found: Found) -> Found:
    """Twice as far as the oracle is from itself as another program: no errors in its steps show that.

    A compiler that computes a value again in two places may round it in two ways, a product that is added to
    something being rounded or not; then what cancels in every other program does not.
    """
    wide = {key: c for key, c in found.items() if c.dtype == np.float64 and not _is_mistake(runs, c)}
    if not wide or runs.errors.draws_others:
        return found
    return found | {key: _wider(c, 2 * c.away(runs.oracle_otherwise[key])) for key, c in wide.items()}


def _of_steps_once(runs: NearbyRuns, found: Found) -> Found:
    return rounding.allowed_for(runs.errors, found, rounding.ONCE)


def _wider(c: Compared, by: float) -> Compared:
    return replace(c, bound=c.bound + by) if is_floating_dtype(c.dtype) else c


MEASURES: tuple[Measure, ...] = (_of_arguments, _of_autodiff, _of_steps, _of_compilation)
"""The allowances, the cheapest first."""
