"""Mistakes that show when the reference is taken apart: by examples, conditions, uses and steps."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from jax_ref.verify.comparison import sides
from jax_ref.verify.comparison.compare import Seen
from jax_ref.verify.diagnosis import (
    algebra,
    argument_uses,
    conditional,
    jacobian,
    lost_digits,
    primitive_gradients,
    reductions,
    substitutions,
)
from jax_ref.verify.diagnosis.explanation import Context, Explanation
from jax_ref.verify.diagnosis.primitive_mistakes import Mistake
from jax_ref.verify.trees import labelled

Array = np.ndarray


def explanations(path: str, seen: list[Seen], context: Context) -> Iterator[Explanation]:
    """The cheapest and the plainest to try first."""
    first = seen[0]
    yield from _rounded(path, first, context)
    yield from _reduced(path, first, context)
    yield from conditional.without_threshold(path, seen, context.names)
    in_steps = list(_in_steps(path, first, context))
    yield from (change for change in in_steps if change.kind == "statistic")
    yield from _counted(path, first, context)
    yield from _elsewhere(path, first, context)
    for text, predicted in jacobian.uses(context.reference, path, context.names):
        yield Explanation("derivative", text, lambda s, p=predicted: p(s.point))
    yield from (change for change in in_steps if change.kind != "statistic")
    yield from conditional.beyond_threshold(path, seen, context.names)


def _once(of_seen: Callable[[Seen], Any]) -> Callable[[Seen], Any]:
    """`of_seen`, computed once for each of the few points."""
    kept: dict[int, Any] = {}

    def remembered(s: Seen) -> Any:
        if id(s) not in kept:
            kept[id(s)] = of_seen(s)
        return kept[id(s)]

    return remembered


def _reduced(path: str, first: Seen, context: Context) -> Iterator[Explanation]:
    batched = list(labelled(first.point.args, context.names)).index(path) in context.group
    for axis in reductions.axes(first.point.d_output):
        if axis == 0 and batched:
            continue
        shares = _once(lambda s, a=axis: reductions.along(context.reference, s.point, a, path, context.names))
        entry = "example" if axis == 0 and context.group else f"entry along axis {axis} of the output"
        for text, reduce in reductions.reductions(shares(first), entry):
            yield Explanation("reduction", f"it is {text}", lambda s, of=shares, r=reduce: r(of(s)))


def _counted(path: str, first: Seen, context: Context) -> Iterator[Explanation]:
    which = list(labelled(first.point.args, context.names)).index(path)
    shares = _once(lambda s: _attempt(lambda: argument_uses.shares(context.reference, s.point, which)))
    if shares(first) is None or not np.all(np.isfinite(shares(first))):
        return
    for text, weights in argument_uses.weights(first.cotangents[path].actual, shares(first)):
        yield Explanation("path", text, lambda s, w=weights: np.tensordot(w, shares(s), 1))


def _attempt(taken_apart: Callable[[], Any]) -> Any:
    """None where a program has parts that cannot be run one by one."""
    try:
        return taken_apart()
    except Exception:  # an equation of any library may need more than `bind`
        return None


def _rounded(path: str, first: Seen, context: Context) -> Iterator[Explanation]:
    for dtype in lost_digits.lost(first, path, context):

        def predicted(s: Seen, dtype: str = dtype) -> Array | None:
            return s.cotangents[path].actual if dtype in lost_digits.lost(s, path, context) else None

        yield Explanation("precision", f"it has the digits of {dtype} only", predicted)


def _elsewhere(path: str, first: Seen, context: Context) -> Iterator[Explanation]:
    for kind, text, moved in substitutions.points(first.point, path, context.names):
        yield Explanation(
            kind, text, lambda s, m=moved: np.asarray(sides.exact(context.both, m(s.point))[1][path])
        )


def _in_steps(path: str, first: Seen, context: Context) -> Iterator[Explanation]:
    """A mistake in one step; the gradients of all of them are computed once for a point."""

    def computed(s: Seen) -> dict[Mistake, dict[str, Array]]:
        if id(s) not in context.kept:
            gradients = _attempt(
                lambda: primitive_gradients.gradients(context.reference, s.point, context.names)
            )
            context.kept[id(s)] = gradients or {}
        return context.kept[id(s)]

    def predicted(s: Seen, mistake: Mistake) -> Array | None:
        return computed(s).get(mistake, {}).get(path)

    for mistake in computed(first):
        yield Explanation(mistake.kind, mistake.text, lambda s, m=mistake: predicted(s, m))
    for mistake in computed(first):
        if mistake.change.name == "constant" and mistake.step:
            yield from _shared(path, first, context.names, mistake.step, lambda s, m=mistake: predicted(s, m))


def _shared(
    path: str, first: Seen, names: tuple[str, ...], step: str, without: Callable[[Seen], Array | None]
) -> Iterator[Explanation]:
    """What goes through a step is off by a factor: a mean for a sum, n - 1 for n, the 2 of a square."""
    rest, c = without(first), first.cotangents[path]
    if rest is None or not np.any(c.exact - rest):
        return
    share = c.exact - rest
    factor = float(np.vdot(share, c.actual - rest) / np.vdot(share, share))

    def predicted(s: Seen) -> Array | None:
        rest = without(s)
        return None if rest is None else rest + factor * (s.cotangents[path].exact - rest)

    text = f"what goes through {step} is {algebra.named(factor, first, names)} times what it should be"
    yield Explanation("factor", text, predicted)
