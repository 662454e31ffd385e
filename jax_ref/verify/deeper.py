"""Mistakes that show when the reference is taken apart: by examples, conditions, uses and reductions."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from jax_ref.verify import conditions, contributions, statistic, uses
from jax_ref.verify.change import Change, Context, Seen
from jax_ref.verify.evaluate import differentiated, widened
from jax_ref.verify.structure import labelled

Array = np.ndarray


def changes(path: str, first: Seen, context: Context) -> Iterator[Change]:
    """The cheapest to try first."""
    yield from _reduced(path, first, context)
    yield from _conditional(path, first, context.names)
    yield from _frozen(path, first, context)
    yield from _counted(path, first, context)


def _once(of_seen: Callable[[Seen], Any]) -> Callable[[Seen], Any]:
    """`of_seen`, computed once for each of the few points."""
    kept: dict[int, Any] = {}

    def remembered(s: Seen) -> Any:
        if id(s) not in kept:
            kept[id(s)] = of_seen(s)
        return kept[id(s)]

    return remembered


def _reduced(path: str, first: Seen, context: Context) -> Iterator[Change]:
    batched = list(labelled(first.point.args, context.names)).index(path) in context.group
    for axis in contributions.axes(first.point.d_output):
        if axis == 0 and batched:
            continue
        shares = _once(
            lambda s, a=axis: contributions.along(context.reference, s.point, a, path, context.names)
        )
        entry = "example" if axis == 0 and context.group else f"entry along axis {axis} of the output"
        for text, reduce in contributions.reductions(shares(first), entry):
            yield Change("reduction", f"it is {text}", lambda s, of=shares, r=reduce: r(of(s)))


def _counted(path: str, first: Seen, context: Context) -> Iterator[Change]:
    which = list(labelled(first.point.args, context.names)).index(path)
    shares = _once(lambda s: _attempt(lambda: uses.shares(context.reference, s.point, which)))
    if shares(first) is None or not np.all(np.isfinite(shares(first))):
        return
    for text, weights in uses.weights(first.cotangents[path].actual, shares(first)):
        yield Change("path", text, lambda s, w=weights: np.tensordot(w, shares(s), 1))


def _attempt(taken_apart: Callable[[], Any]) -> Any:
    """None where a program has parts that cannot be run one by one."""
    try:
        return taken_apart()
    except Exception:  # an equation of any library may need more than `bind`
        return None


def _conditional(path: str, first: Seen, names: tuple[str, ...]) -> Iterator[Change]:
    """Right but where a condition holds: on a position, or on an input of the same shape."""

    def wrong_entries(s: Seen) -> Array:
        c = s.cotangents[path]
        return ~(
            np.abs(c.actual - c.exact) <= 2 * c.bound / np.sqrt(max(c.exact.size, 1)) + 1e-6 * np.abs(c.exact)
        )

    wrong = wrong_entries(first)
    if wrong.all() or not wrong.any():
        return
    for text, mask in conditions.where(first.point.args, labelled(first.point.args, names), wrong):
        if not np.any(wrong & mask) or np.any(wrong & ~mask) or np.mean(wrong[mask]) < 0.5:
            continue

        def predicted(s: Seen, text: str = text) -> Array | None:
            """The cotangent itself, if it is wrong where the condition holds and nowhere else."""
            found, named = wrong_entries(s), labelled(s.point.args, names)
            same = [m for t, m in conditions.where(s.point.args, named, found) if _same(t, text)]
            holds = any(not np.any(found & ~m) for m in same)
            return s.cotangents[path].actual if holds else None

        yield Change("conditional", f"it is wrong only {text}", predicted)


def _same(text: str, other: str) -> bool:
    """The same condition, with whatever threshold."""
    return text.rpartition(" ")[0] == other.rpartition(" ")[0]


def _frozen(path: str, first: Seen, context: Context) -> Iterator[Change]:
    with jax.enable_x64(True):
        args = widened(first.point.args)
        held = _attempt(lambda: list(statistic.frozen(context.reference, args))) or []
    for text, function in held:

        def predicted(s: Seen, function: Any = function) -> Array:
            with jax.enable_x64(True):
                args, d_output = widened((s.point.args, s.point.d_output))
                return np.asarray(differentiated(function, args, d_output, context.names)[1][path])

        yield Change("statistic", f"it takes {text} for a constant", predicted)
