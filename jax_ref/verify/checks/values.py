"""Output and cotangents at a point against the oracle, with allowance for rounding and for kinks.

Rounding is estimated, and kinks are searched for, only where an error is more than `tolerance` allows.
"""

import functools
from typing import NamedTuple

import numpy as np

from jax_ref.verify.comparison import kinks, rounding, smoothness
from jax_ref.verify.comparison.compare import Compared, Seen, compare
from jax_ref.verify.findings import Finding
from jax_ref.verify.points.point import Point
from jax_ref.verify.session import Session
from jax_ref.verify.trees import widened


class Evaluation(NamedTuple):
    """What was found at a point: the output's leaves by path, the cotangents, a line for each kink."""

    outputs: dict[str, Compared]
    seen: Seen
    undecided: list[str]


def evaluate(session: Session, point: Point) -> Evaluation:
    """Compare both sides at a point; a cotangent counts as right at kinks, unless autodiff's is asked for."""
    reference = session.sides.reference
    found = compare(session.sides, point, session.rng)
    if any(c.wrong for c in found.values()):
        found = rounding.allowed_for(reference, point, session.rng, found)
    cotangents = {path: c for (part, path), c in found.items() if part == "cotangent"}
    outputs = {path: c for (part, path), c in found.items() if part == "output"}
    undecided, smooth = [], functools.cache(lambda: smoothness.is_smooth(session.sides, point))
    for path, c in cotangents.items():
        if not c.wrong or session.options.kinks != "undecided" or smooth():
            continue
        kink = kinks.undecided(reference, point, path, c)
        if kink.any():
            first = tuple(map(int, np.argwhere(kink)[0]))
            undecided.append(
                f"{path}{list(first)} ({point.name}): the reference has a kink there; found "
                f"{c.actual[first]:.6g}, autodiff {c.exact[first]:.6g}"
            )
            cotangents[path] = c._replace(actual=np.where(kink, c.exact, c.actual))
    return Evaluation(outputs, Seen(point, cotangents), undecided)


def violations(evaluation: Evaluation) -> list[Finding]:
    """The leaves of the output that are not the reference's."""
    point = evaluation.seen.point
    return [
        Finding(
            "forward",
            path,
            f"it differs from the reference's by {c.error:.1e}; allowed {c.bound:.1e} ({point.name})",
            point.args,
        )
        for path, c in evaluation.outputs.items()
        if c.wrong
    ]


def in_float64(session: Session, seen: Seen) -> Seen | None:
    """The same point in float64, where it was in another dtype; None where the functions do not take that."""
    args, d_output = widened((seen.point.args, seen.point.d_output))
    try:
        finer = evaluate(session, seen.point._replace(args=args, d_output=d_output)).seen
    except Exception:  # of the user's code, which may be made for one dtype only
        return None
    return finer if finer.cotangents.keys() == seen.cotangents.keys() else None
