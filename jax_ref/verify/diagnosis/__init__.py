"""Diagnosis of a wrong cotangent: the simplest explanation that predicts it at every point where it was seen.

Each family of explanations is a file, whose `explanations(path, seen, context)` yields them. To add one: a
file here, a line in `ORDER`, a word in `findings.KINDS`.
"""

import functools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from jax_ref.verify.clock import Clock
from jax_ref.verify.comparison import tolerance
from jax_ref.verify.comparison.compare import Compared, Seen
from jax_ref.verify.comparison.sides import Sides
from jax_ref.verify.diagnosis import (
    algebra,
    argument_uses,
    conditional,
    indices,
    jacobian,
    layouts,
    lost_digits,
    not_finite,
    other_cotangents,
    other_statistics,
    other_values,
    primitive_gradients,
    reductions,
    substitutions,
    value_factors,
    wrong_axes,
)
from jax_ref.verify.diagnosis.contributions import Contributions, contributions
from jax_ref.verify.diagnosis.explanation import Context, Explanation, off_kinks
from jax_ref.verify.findings import Finding
from jax_ref.verify.points.ladder import AT_KINKS

ORDER: tuple[Callable[[str, list[Seen], Context], Iterator[Explanation]], ...] = (
    algebra.explanations,
    layouts.explanations,
    lost_digits.explanations,
    substitutions.of_cotangents,
    indices.explanations,
    reductions.explanations,
    substitutions.of_parts,
    conditional.without_threshold,
    primitive_gradients.statistics,
    argument_uses.explanations,
    substitutions.explanations,
    other_cotangents.explanations,
    jacobian.explanations,
    value_factors.explanations,
    primitive_gradients.derivatives,
    conditional.at_repeated,
    other_statistics.explanations,
    wrong_axes.explanations,
    other_values.explanations,
    value_factors.exchanged,
    value_factors.fixed,
    conditional.beyond_threshold,
    conditional.at_kinks,
)
"""What is tried, the simplest and the cheapest first; a family of both kinds has two generators."""

TINY = 1e-150
"""The norm up to which the right cotangent is zero, and says nothing of how far another one may be."""

EVERYWHERE = ("zero", "conditional")
"""Kinds that must hold wherever it is wrong, off kinks: of few entries, or far out, they do by chance."""


def context_of(sides: Sides, clock: Clock) -> Context:
    """The context of one report: the gradients at a point are computed once, for all leaves."""
    mistaken = functools.partial(primitive_gradients.mistaken, sides.reference)
    shares = functools.partial(contributions_at, sides)
    values = functools.partial(other_values.gradients, sides.reference)
    sums = functools.partial(wrong_axes.shares, sides.reference)
    each = functools.partial(value_factors.values, sides.reference)
    return Context(
        sides,
        clock,
        functools.cache(mistaken),
        functools.cache(shares),
        functools.cache(values),
        functools.cache(sums),
        functools.cache(each),
    )


def contributions_at(sides: Sides, seen: Seen) -> Contributions:
    """Those of the output's entries; none where the reference cannot be mapped over cotangents."""
    try:
        return contributions(sides.reference, seen.point)
    except Exception:  # a call into other code may not know how
        return Contributions({}, {})


def diagnose(path: str, seen: list[Seen], context: Context) -> Finding:
    """The first explanation that holds at all the points with the same numbers in it, or that none does."""
    worst = seen[0].cotangents[path]
    if not worst.finite:
        bad = np.argwhere(~np.isfinite(worst.actual) & np.isfinite(worst.exact))
        first = tuple(map(int, bad[0]))
        text = f"NaN or infinite at {len(bad)} of {worst.actual.size} entries, first at {first}"
        text += not_finite.cause(path, seen[0], context)
        return Finding("not finite", path, text)
    context.clock.show(f"what is {path} instead?")
    compared = _compared(seen)
    points = {"precision": seen[:2]} | dict.fromkeys(EVERYWHERE, off_kinks(seen))
    off = _off(worst)
    for explanations in ORDER:
        for explanation in _made(explanations, path, seen, context):
            if context.clock.over:
                return Finding("gradient", path, f"{off}; the time was over before it was explained")
            if all(_holds(explanation, path, s) for s in points.get(explanation.kind, compared)):
                return Finding(explanation.kind, path, explanation.text)
    return Finding("gradient", path, f"{off}; no simple change makes it right")


def _made(
    explanations: Callable[..., Iterator[Explanation]], path: str, seen: list[Seen], context: Context
) -> Iterator[Explanation]:
    """Those of a family, as far as they can be made of this reference."""
    try:
        yield from explanations(path, seen, context)
    except Exception:  # of the user's code, or of JAX for what it cannot do with it
        return


def not_explained(path: str, seen: list[Seen]) -> Finding:
    """How far off it is, where it is not asked what it is instead."""
    return Finding("gradient", path, _off(seen[0].cotangents[path]))


def lost(path: str, seen: Seen, dtype: str) -> Finding:
    """The finding for what is right but for rounding."""
    found = seen.cotangents[path]
    if seen.wider:
        right, width = "it is right in float64, but", f" in {dtype}"
    else:
        right, width = "it is", f" in {dtype}, and further the fewer digits there are"
    text = f"{right} {_off(found)}{width}: rounding on the way costs it more digits than it costs autodiff"
    return Finding("precision", path, text)


def _off(found: Compared) -> str:
    """How far, by the norm where there is one."""
    of_norm = tolerance.size(found.exact) > TINY
    return f"off by {f'{found.relative:.1e} of its norm' if of_norm else f'{found.error:.1e}, and not zero'}"


def _compared(seen: list[Seen]) -> list[Seen]:
    """Where an explanation must hold: at the first two, and at the others of the same shapes, off kinks."""

    def shapes(s: Seen) -> list[tuple[int, ...]]:
        return [np.shape(x) for x in jax.tree.leaves(s.point.args)]

    later = [s for s in seen[2:] if shapes(s) == shapes(seen[0]) and s.point.name not in AT_KINKS]
    return [*seen[:2], *later]


def _holds(explanation: Explanation, path: str, seen: Seen) -> bool:
    """Whether the prediction is within the bound of what was found at a point."""
    found = seen.cotangents[path]
    try:
        predicted = explanation.predict(seen)
    except Exception:  # of the user's code, for arguments that it is not made for
        return False
    if predicted is None or predicted.shape != found.actual.shape:
        return False
    size, right = tolerance.size(predicted), tolerance.size(found.exact)
    rounding = max(float(jnp.finfo(found.dtype).eps), tolerance.FLOAT64) * size
    allowed = found.bound * max(1.0, size / right) if right > TINY else found.bound + rounding
    return tolerance.distance(found.actual, predicted) <= 4 * allowed
