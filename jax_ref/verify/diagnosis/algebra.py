"""Algebraic changes of the right cotangent: a sign, a factor, a permutation, a term too many."""

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from jax_ref.verify.comparison.compare import Seen
from jax_ref.verify.comparison.reference import Reference
from jax_ref.verify.diagnosis import sizes
from jax_ref.verify.diagnosis.explanation import Context, Explanation
from jax_ref.verify.trees import is_floating

Array = np.ndarray

HELD = 4
"""Times the bound within which a factor must hold at the first point before it is put in words."""


def explanations(path: str, seen: list[Seen], context: Context) -> Iterator[Explanation]:
    """The simplest first, with the factors in them fitted at the first point."""
    first, reference = seen[0], context.reference
    found = first.cotangents[path]
    exact = lambda s: s.cotangents[path].exact  # noqa: E731
    yield Explanation("sign", "it has the wrong sign", lambda s: -exact(s))
    yield Explanation("zero", "it is zero", lambda s: np.zeros_like(exact(s)))
    yield from _factor(path, first, context)
    for axes in _permutations(found.exact.ndim):
        yield Explanation(
            "transposed",
            f"its axes are permuted: transpose it by {axes}",
            lambda s, axes=axes: np.transpose(exact(s), np.argsort(axes)),
        )
    for axes in _one_or_two(found.exact.ndim):
        along = f"axis {axes[0]}" if len(axes) == 1 else f"axes {axes}"
        yield Explanation("flipped", f"it is reversed along {along}", lambda s, a=axes: np.flip(exact(s), a))
        for by in (1, -1):
            yield Explanation(
                "shifted",
                f"it is shifted by {by} along {along}",
                lambda s, a=axes, n=by: np.roll(exact(s), (n,) * len(a), a),
            )
            yield Explanation(
                "shifted",
                f"it is shifted by {by} along {along}, with zero at the end",
                lambda s, a=axes, n=by: functools.reduce(lambda x, axis: _shifted(x, axis, n), a, exact(s)),
            )
    for other in first.cotangents:
        if other != path:
            yield Explanation(
                "exchanged", f"it is the cotangent of {other}", lambda s, o=other: s.cotangents[o].exact
            )
    yield from _added(path, first, reference)
    yield from _multiplied(path, first, reference)


def _factor(path: str, first: Seen, context: Context) -> Iterator[Explanation]:
    found = first.cotangents[path]
    norm = float(np.vdot(found.exact, found.exact))
    if not norm > 0 or not np.all(np.isfinite(found.actual)):
        return
    factor = float(np.vdot(found.exact, found.actual)) / norm
    if factor == 0 or abs(factor - 1) * norm**0.5 <= found.bound:  # within rounding of the right one
        return

    def predicted(s: Seen) -> Array:
        return factor * s.cotangents[path].exact

    near = predicted(first)
    if float(np.linalg.norm(found.actual - near)) <= HELD * max(found.bound, 1e-9 * norm**0.5):
        yield Explanation(
            "factor", f"it is {sizes.confirmed(path, factor, first, context)} times the right one", predicted
        )


def _added(path: str, first: Seen, reference: Reference) -> Iterator[Explanation]:
    """A multiple of an argument, or of another cotangent or the output's, is added or missing."""

    def terms(s: Seen) -> dict[str, Array]:
        args = {k: np.asarray(x) for k, x in reference.leaves(s.point.args).items() if is_floating(x)}
        others = {f"the cotangent of {k}": c.exact for k, c in s.cotangents.items() if k != path}
        d_output = np.asarray(s.point.d_output) if hasattr(s.point.d_output, "dtype") else np.zeros(0)
        return args | others | {"the cotangent of the output": d_output}

    found = first.cotangents[path]
    rest = found.actual - found.exact
    for name, term in terms(first).items():
        if term.shape != rest.shape or not np.any(term):
            continue
        term = term.astype(np.float64)
        factor = float(np.vdot(term, rest) / np.vdot(term, term))
        text = (
            f"{factor:.6g} times {name} is added" if factor > 0 else f"{-factor:.6g} times {name} is missing"
        )
        yield Explanation(
            "added term",
            text,
            lambda s, n=name, f=factor: s.cotangents[path].exact + f * terms(s)[n].astype(np.float64),
        )


def _multiplied(path: str, first: Seen, reference: Reference) -> Iterator[Explanation]:
    """It is multiplied or divided by an argument, or a factor or a divisor is missing."""

    def factor(s: Seen, name: str) -> Array | None:
        """The argument, along the first or the last axes of the cotangent; None where it does not fit."""
        shape = s.cotangents[path].exact.shape
        x = np.asarray(reference.leaves(s.point.args)[name], np.float64)
        if x.shape == shape[: x.ndim]:
            return x.reshape(x.shape + (1,) * (len(shape) - x.ndim))
        return x if x.shape == shape[len(shape) - x.ndim :] else None

    for name, leaf in reference.leaves(first.point.args).items():
        if not is_floating(leaf) or factor(first, name) is None or not np.all(leaf):
            continue
        for power, text in ((1, "multiplied by {}"), (-1, "divided by {}"), (2, "multiplied by {}^2")):

            def predicted(s: Seen, name: str = name, power: int = power) -> Array | None:
                x = factor(s, name)
                with np.errstate(divide="ignore", invalid="ignore"):
                    return None if x is None else s.cotangents[path].exact * x**power

            yield Explanation("factor", f"it is the right one {text.format(name)}", predicted)


def _permutations(ndim: int) -> list[tuple[int, ...]]:
    return [p for p in itertools.permutations(range(ndim)) if p != tuple(range(ndim))] if ndim <= 4 else []


def _one_or_two(ndim: int) -> list[tuple[int, ...]]:
    return [axes for count in (1, 2) for axes in itertools.combinations(range(ndim), count)]


def _shifted(x: Array, axis: int, by: int) -> Array:
    rolled: Any = np.roll(x, by, axis)
    edge = [slice(None)] * x.ndim
    edge[axis] = slice(0, by) if by > 0 else slice(by, None)
    rolled[tuple(edge)] = 0
    return rolled
