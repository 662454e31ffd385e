"""Conditional errors: a cotangent that is right but where a condition on its position or the inputs holds."""

from collections.abc import Iterable, Iterator

import numpy as np

from jax_ref.verify.comparison.compare import Compared, Seen
from jax_ref.verify.diagnosis import conditions
from jax_ref.verify.diagnosis.explanation import Context, Explanation, off_kinks
from jax_ref.verify.points.ladder import AT_KINKS

Array = np.ndarray

BEFORE_NAME, AFTER_NAME = conditions.REPEATED.split("{}")

FADED = 0.01
"""Share of the median relative error below which the smallest shows that it fades, and has no threshold."""


def without_threshold(path: str, seen: list[Seen], context: Context) -> Iterator[Explanation]:
    """Right but where a condition holds: on a position, or on an input of the same shape."""
    yield from _at(path, context, [c for c in _conditions(path, seen, context) if not _of_repeated(c)])


def at_repeated(path: str, seen: list[Seen], context: Context) -> Iterator[Explanation]:
    """Wrong only where indices are repeated; which is overwriting, if that predicts it."""
    yield from _at(path, context, filter(_of_repeated, _conditions(path, seen, context)))


def _of_repeated(text: str) -> bool:
    return text.startswith(BEFORE_NAME) and text.endswith(AFTER_NAME)


def _at(path: str, context: Context, texts: Iterable[str]) -> Iterator[Explanation]:
    for text in dict.fromkeys(texts):

        def predicted(s: Seen, text: str = text) -> Array | None:
            """The cotangent itself, if it is wrong where the condition holds and nowhere else."""
            found, leaves = _wrong_entries(s, path), context.reference.leaves(s.point.args)
            same = (c for c in conditions.where(leaves, found) if c.text == text)
            holds = any(not np.any(found & ~c.mask) for c in same)
            return s.cotangents[path].actual if holds else None

        yield Explanation("conditional", f"it is wrong only {text}", predicted)


def _conditions(path: str, seen: list[Seen], context: Context) -> Iterator[str]:
    """Those that could hold, read off the points where some entries are right."""
    for s in _partly(path, seen):
        wrong = _wrong_entries(s, path)
        for condition in conditions.where(context.reference.leaves(s.point.args), wrong):
            if not np.any(wrong & ~condition.mask) and _tells(s.cotangents[path], wrong, condition.mask):
                yield condition.text


def beyond_threshold(path: str, seen: list[Seen], context: Context) -> Iterator[Explanation]:
    """Wrong on one side of a threshold that is the same at all points.

    It takes several points to show it: at a single one, of few entries, those that are wrong are often the
    largest by chance.
    """
    partly = _partly(path, seen)
    if len(partly) < 2 or any(_fades(s.cotangents[path], _wrong_entries(s, path)) for s in partly):
        return

    def thresholds(s: Seen) -> dict[str, conditions.Threshold]:
        leaves = context.reference.leaves(s.point.args)
        return {t.text: t for t in conditions.thresholds(leaves, _wrong_entries(s, path))}

    found = [thresholds(s) for s in off_kinks(seen)]
    for text in found[0]:
        same = [each[text] for each in found if text in each]
        low, high = max(t.low for t in same), min(t.high for t in same)
        if len(same) == len(found) and low < high:
            text = f"it is wrong only {text} {conditions.between(low, high)}"
            yield Explanation("conditional", text, lambda s: s.cotangents[path].actual)


def at_kinks(path: str, seen: list[Seen], context: Context) -> Iterator[Explanation]:
    """Right at the example and wherever else there are no more ties and zeros than there."""
    if all(s.point.name in AT_KINKS for s in seen):
        text = "it is wrong only where there are ties or zeros"
        yield Explanation("conditional", text, lambda s: s.cotangents[path].actual)


def _partly(path: str, seen: list[Seen]) -> list[Seen]:
    """The points at which some entries are wrong and some are right."""
    wrong = ((s, _wrong_entries(s, path)) for s in off_kinks(seen))
    return [s for s, entries in wrong if entries.any() and not entries.all()]


def _wrong_entries(s: Seen, path: str) -> Array:
    c = s.cotangents[path]
    return ~(
        np.abs(c.actual - c.exact) <= 2 * c.bound / np.sqrt(max(c.exact.size, 1)) + 1e-6 * np.abs(c.exact)
    )


def _tells(c: Compared, wrong: Array, mask: Array) -> bool:
    """Whether most of what could be wrong is where a condition holds, and something is right elsewhere."""
    telling = mask & ((c.exact != 0) | wrong)  # a zero may be one for other reasons
    return bool(np.any(telling) and np.mean(wrong[telling]) >= 0.5 and np.any(c.exact[~mask]))


def _fades(c: Compared, wrong: Array) -> bool:
    """Whether some errors are so small that the error fades instead of ending at a threshold."""
    with np.errstate(over="ignore"):
        relative = np.abs(c.actual - c.exact)[wrong] / (np.abs(c.exact)[wrong] + np.finfo(float).tiny)
    return float(np.min(relative)) < FADED * float(np.median(relative))
