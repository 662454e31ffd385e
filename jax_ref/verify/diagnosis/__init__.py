"""What a wrong cotangent is instead: the simplest change that makes it right, claimed only if it does.

A description is tried on points with other values and other cotangents of the output, and holds only if the
same change, with the same number in it, brings all of them within the bound of the oracle.
"""

import itertools

import jax
import numpy as np

from jax_ref.verify.comparison import tolerance
from jax_ref.verify.comparison.compare import Compared, Seen
from jax_ref.verify.diagnosis import algebra, deeper
from jax_ref.verify.diagnosis.explanation import AT_KINKS, Context, Explanation, off_kinks
from jax_ref.verify.findings import Finding

TINY = 1e-150

EVERYWHERE = ("zero", "conditional")
"""Kinds that must hold wherever it is wrong, off kinks: of few entries, or far out, they do by chance."""


def diagnose(path: str, seen: list[Seen], context: Context) -> Finding:
    """The first of the changes that holds at all the points, or that none does."""
    worst = seen[0].cotangents[path]
    if not finite(worst):
        bad = np.argwhere(~np.isfinite(worst.actual) & np.isfinite(worst.exact))
        first = tuple(map(int, bad[0]))
        text = f"NaN or infinite at {len(bad)} of {worst.actual.size} entries, first at {first}"
        return Finding("not finite", path, text)
    compared = _compared(seen)
    points = {"precision": seen[:2]} | dict.fromkeys(EVERYWHERE, off_kinks(seen))
    for change in itertools.chain(
        algebra.explanations(path, seen[0], context.names), deeper.explanations(path, seen, context)
    ):
        if all(_holds(change, path, s) for s in points.get(change.kind, compared)):
            return Finding(change.kind, path, change.text)
    return Finding(
        "gradient", path, f"off by {_relative(worst)} of its norm; no simple change makes it right"
    )


def lost(path: str, found: Compared, dtype: str) -> Finding:
    """The finding for what is right in float64."""
    text = (
        f"it is right in float64, but off by {_relative(found)} of its norm in {dtype}: rounding on the way "
        "costs it more digits than it costs autodiff"
    )
    return Finding("precision", path, text)


def finite(found: Compared) -> bool:
    """Whether it is finite where the right one is."""
    return bool(np.all(np.isfinite(found.actual[np.isfinite(found.exact)])))


def _relative(found: Compared) -> str:
    return f"{found.error / max(tolerance.size(found.exact), TINY):.1e}"


def _compared(seen: list[Seen]) -> list[Seen]:
    """Where a change must hold: at the first two, and at the others of the first's shapes, off kinks."""

    def shapes(s: Seen) -> list[tuple[int, ...]]:
        return [np.shape(x) for x in jax.tree.leaves(s.point.args)]

    later = [s for s in seen[2:] if shapes(s) == shapes(seen[0]) and s.point.name not in AT_KINKS]
    return [*seen[:2], *later]


def _holds(change: Explanation, path: str, seen: Seen) -> bool:
    found = seen.cotangents[path]
    predicted = change.predict(seen)
    if predicted is None or predicted.shape != found.actual.shape:
        return False
    scale = max(1.0, tolerance.size(predicted) / max(tolerance.size(found.exact), TINY))
    return tolerance.distance(found.actual, predicted) <= 4 * found.bound * scale
