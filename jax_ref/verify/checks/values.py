"""Output and cotangents at a point against the oracle, with allowance for rounding and for kinks.

A point in a narrow dtype is looked at again in a finer one, float64 if the hand-written side takes it: what
is wrong there is a mistake, and what is right there is at most imprecise. Rounding is estimated, and kinks
are searched for, only where an error is more than `tolerance` allows.
"""

import functools
from dataclasses import replace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import DTypeLike

from jax_ref.verify.comparison import allowances, kinks, shrinking, smoothness, ties, tolerance
from jax_ref.verify.comparison.compare import Compared, Key, Seen, compare
from jax_ref.verify.comparison.nearby_runs import NearbyRuns
from jax_ref.verify.comparison.sides import Sides
from jax_ref.verify.findings import Finding
from jax_ref.verify.points.ladder import AT_KINKS
from jax_ref.verify.points.point import EXAMPLE, Point
from jax_ref.verify.session import Session
from jax_ref.verify.trees import cast, floats

Found = dict[Key, Compared]

OVERFLOWS = "the reference overflows, and the pair does not"
NOT_FINITE = "the derivative by the reference is not finite"
BEYOND = "the output overflows in its dtype, by the reference as well"
INVALID = "the output is not the reference's for these integers, which may be none that it takes"
"""Reasons why a point, or some of its entries, could not be judged."""


class Evaluation(NamedTuple):
    """What was found at a point.

    Besides what was seen of the cotangents: the same of the output's leaves, a line for each kink, the ties
    that autodiff has wrong, and why something could not be judged.
    """

    outputs: Seen
    seen: Seen
    undecided: list[str]
    ties: dict[str, ties.Tie]
    unjudged: list[str]


def evaluate(session: Session, point: Point) -> Evaluation:
    """Compare both sides at a point; a cotangent counts as right at kinks, unless autodiff's is asked for."""
    sides, rng = session.sides, session.rng
    wider, rounded = wider_point(session, point), frozenset()

    def looked_at(point: Point, digits: DTypeLike) -> Found:
        return _without_overflow(point, compare(sides, point, digits))

    before, finer = looked_at(point, np.float64), looked_at(wider, np.float32) if wider else {}
    tied = _ties(session, point, before | finer)
    runs = NearbyRuns(sides, point, rng, session.workers)
    found, finer = _at_ties(before, tied), _at_ties(finer, tied)
    if wider and finer.keys() == found.keys():
        around = NearbyRuns(sides, wider, rng, session.workers, runs)
        finer = allowances.added(around, finer)
        if any(c.wrong for c in finer.values()):  # its own digits tell better what it is instead
            finest = allowances.added(around, _at_ties(looked_at(wider, np.float64), tied))
            finer |= {key: finest[key] for key, c in finer.items() if c.wrong}
        finer, excused, undecided = _at_kinks(session, wider, finer)
        found = _as_right(found, excused)
        right = {key: c for key, c in found.items() if not finer[key].wrong}
        found = found | allowances.for_digits(runs, right)
    else:
        wider, short = None, _as_short(sides, found)
        found, excused, undecided = _at_kinks(session, point, allowances.added(runs, found))
        rounded = shrinking.rounded(sides, point, rng, found)
        short = {key: c for key, c in _as_right(short, excused).items() if not found[key].wrong}
        short = allowances.for_digits(runs, short)
        found, rounded = found | short, rounded | {key for key, c in short.items() if c.wrong}
    found, finer = (_as_asked(each, session.options.rtol) for each in (found, finer))
    outputs, seen = (_seen(part, point, found, wider, finer, rounded) for part in ("output", "cotangent"))
    return Evaluation(outputs, seen, undecided, tied, _unjudged(point, before, found))


def _as_asked(found: Found, rtol: float) -> Found:
    """What was found, with the distance that the user says both sides may be apart allowed."""
    return {key: replace(c, bound=max(c.bound, rtol * tolerance.size(c.exact))) for key, c in found.items()}


def _as_short(sides: Sides, found: Found) -> Found:
    """What has fewer digits than float32, and an oracle with more."""
    return {} if sides.reference.resolution.own else allowances.short(found)


def is_forward_wrong(evaluation: Evaluation) -> bool:
    """Whether a leaf of the output is not the reference's."""
    outputs = evaluation.outputs
    return any(outputs.verdict(path) == "wrong" for path in outputs.cotangents)


def violations(evaluation: Evaluation, precision: str) -> tuple[list[Finding], list[Finding]]:
    """The leaves of the output that are not the reference's, and those that are but for their digits."""
    seen, wrong, imprecise = evaluation.outputs, [], []
    point = seen.point
    for path, c in seen.cotangents.items():
        verdict = seen.verdict(path)
        if verdict == "right":
            continue
        off = c if c.wrong or not seen.wider else seen.wider.cotangents[path]
        where = point.name if off is c else f"{point.name}, {seen.only_in}"
        text = f"it differs from the reference's by {off.error:.1e}; allowed {off.bound:.1e} ({where})"
        kind = "forward" if verdict == "wrong" else "precision"
        fault = seen.faulty(path, precision)
        (wrong if fault else imprecise).append(Finding(kind, path, text, point.args))
    return wrong, imprecise


def _seen(
    part: str, point: Point, found: Found, wider: Point | None, finer: Found | None, rounded: frozenset[Key]
) -> Seen:
    """The leaves of the output, or the cotangents."""

    def of_part(found: Found) -> dict[str, Compared]:
        return {key.path: c for key, c in found.items() if key.part == part}

    again = Seen(wider, of_part(finer)) if wider and finer else None
    return Seen(point, of_part(found), again, frozenset(key.path for key in rounded if key.part == part))


def wider_point(session: Session, point: Point) -> Point | None:
    """The same in the finest dtype that both sides have, if it is finer than the coarsest of the point."""
    resolution = session.sides.reference.resolution
    coarsest = max(float(jnp.finfo(x.dtype).eps) for x in floats((point.args, point.d_output)))
    if resolution.own or coarsest <= resolution.eps:
        return None
    digits = session.sides.digits(point)
    if digits is None or coarsest <= float(jnp.finfo(digits).eps):
        return None
    args, d_output = cast((point.args, point.d_output), digits)
    return point._replace(args=args, d_output=d_output)


def _ties(session: Session, point: Point, found: Found) -> dict[str, ties.Tie]:
    """The ties that autodiff has wrong; none where autodiff's are asked for.

    They are looked for where there are most, also if both sides agree, and where the two do not.
    """
    if session.options.kinks == "autodiff" or session.sides.reference.resolution.own:
        return {}
    if point.name in (EXAMPLE, *AT_KINKS) or any(c.wrong for c in found.values()):
        return ties.at(session.sides, point, session.rng)
    return {}


def _at_ties(found: Found, tied: dict[str, ties.Tie]) -> Found:
    """What was found, held to the slopes that the reference has at its ties."""
    corrected = {}
    for key, c in found.items():
        tie = tied.get(key.path) if key.part == "cotangent" else None
        corrected[key] = (
            replace(c, exact=tie.slopes, bound=c.bound + tie.error, corrected=tie.entries) if tie else c
        )
    return corrected


def _without_overflow(point: Point, found: Found) -> Found:
    """What was found, with NaN for right where the reference overflows at a point of the verifier's own."""
    if point.given or not _overflows(found):
        return found
    judged = {}
    for key, c in found.items():
        unknown = _overflow(c) if key.part == "output" else ~np.isfinite(c.exact)
        judged[key] = replace(c, exact=np.where(unknown, np.nan, c.exact))
    return judged


def _overflow(c: Compared) -> np.ndarray:
    """The entries of an output at which the reference is not finite, and the hand-written side is."""
    return ~np.isfinite(c.exact) & np.isfinite(c.actual)


def _overflows(found: Found) -> bool:
    return any(np.any(_overflow(c)) for key, c in found.items() if key.part == "output")


def _unjudged(point: Point, before: Found, found: Found) -> list[str]:
    """Why there is something that could not be judged, if there is; `before` is without allowances."""
    exact = [c.exact for key, c in found.items() if key.part == "cotangent" and c.exact.size]
    unknown = bool(exact) and not any(np.any(np.isfinite(x)) for x in exact)
    reasons = {
        OVERFLOWS: not point.given and _overflows(before),
        NOT_FINITE: unknown,
        BEYOND: any(np.any(np.isnan(c.exact) & ~np.isnan(before[key].exact)) for key, c in found.items()),
    }
    return [reason for reason, holds in reasons.items() if holds]


def _at_kinks(session: Session, point: Point, found: Found) -> tuple[Found, dict[Key, np.ndarray], list[str]]:
    """What was found, with the right cotangents where there are kinks; where these are; a line for each."""
    excused, undecided = {}, []
    smooth = functools.cache(lambda: smoothness.is_smooth(session.sides, point))
    for key, c in found.items():
        if session.options.kinks != "undecided" or not c.wrong or key.part == "output" or smooth():
            continue
        kink = kinks.undecided(session.sides.reference, point, key.path, c)
        if kink.any():
            first = tuple(map(int, np.argwhere(kink)[0]))
            undecided.append(
                f"{key.path}{list(first)} ({point.name}): the reference has a kink there; found "
                f"{c.actual[first]:.6g}, autodiff {c.exact[first]:.6g}"
            )
            excused[key] = kink
    return _as_right(found, excused), excused, undecided


def _as_right(found: Found, excused: dict[Key, np.ndarray]) -> Found:
    """What was found, with the right values in place of some."""
    return {
        key: replace(c, actual=np.where(excused[key], c.exact, c.actual)) if key in excused else c
        for key, c in found.items()
    }
