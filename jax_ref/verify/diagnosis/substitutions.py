"""Substitutions: the right gradient at another point.

A mask is inverted, labels are off by one, a weight or the cotangent of one of the outputs is forgotten.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_ref.verify.comparison.compare import Seen
from jax_ref.verify.diagnosis.explanation import Context, Explanation, one_or_two_axes
from jax_ref.verify.points.point import Point
from jax_ref.verify.trees import dtype_of, is_floating, is_integer

Change = Callable[[Any], Any]
"""From a leaf to what is in its place."""

Predict = Callable[[Seen], np.ndarray]
"""From what was seen to the cotangent that is predicted there."""


def of_cotangents(path: str, seen: list[Seen], context: Context) -> Iterator[Explanation]:
    """The cotangent at `path` for another value of the cotangent of an output."""
    yield from _for_another(_instead_of_cotangent, path, seen, context)


def of_parts(path: str, seen: list[Seen], context: Context) -> Iterator[Explanation]:
    """The cotangent at `path` for a part of the cotangent of an output, by position."""
    yield from _for_another(_part_of_cotangent, path, seen, context)


def _for_another(
    made: Callable[[np.ndarray, int, int], Iterator[tuple[str, Change]]],
    path: str,
    seen: list[Seen],
    context: Context,
) -> Iterator[Explanation]:
    outputs = jax.tree.leaves(seen[0].point.d_output)
    for which, d in enumerate(outputs):
        if is_floating(d):
            for text, change in made(d, which, len(outputs)):
                predict = _right_at(_with_cotangent(which, change), path, context)
                yield Explanation("cotangent ignored", text, predict)


def _right_at(moved: Callable[[Point], Point], path: str, context: Context) -> Predict:
    """The right cotangent at another point."""
    return lambda s: np.asarray(context.sides.exact(moved(s.point))[1][path])


def explanations(path: str, seen: list[Seen], context: Context) -> Iterator[Explanation]:
    """The cotangent at `path` for another value of another argument."""
    point = seen[0].point
    yield from _by_another(path, seen, context)
    for which, (name, leaf) in enumerate(context.reference.leaves(point.args).items()):
        if name != path and hasattr(leaf, "dtype") and np.size(leaf):
            for text, change in _instead(leaf):
                text = f"it is the right one for {name} {text}"
                yield Explanation("input", text, _right_at(_with_argument(which, change), path, context))


def _by_another(path: str, seen: list[Seen], context: Context) -> Iterator[Explanation]:
    """With another argument of the same kind in the place of one, as the senders for the receivers."""
    named = context.reference.leaves(seen[0].point.args)
    for (which, (name, leaf)), (other, x) in itertools.product(enumerate(named.items()), named.items()):
        alike = name not in (path, other) and hasattr(leaf, "dtype") and hasattr(x, "dtype")
        if alike and (np.shape(leaf), leaf.dtype) == (np.shape(x), x.dtype) and np.ndim(leaf):

            def moved(p: Point, which: int = which, other: str = other) -> Point:
                value = context.reference.leaves(p.args)[other]
                return p._replace(args=_replaced(p.args, which, lambda _: value))

            text = f"it is the right one with {other} for {name}"
            yield Explanation("input", text, _right_at(moved, path, context))


def _instead_of_cotangent(d: np.ndarray, which: int, count: int) -> Iterator[tuple[str, Change]]:
    where = f"output[{which}]" if count > 1 else "the output"
    if count > 1:
        yield f"the cotangent of {where} is not used", np.zeros_like
    if d.size > 1:
        mean = lambda d: np.full_like(d, d.astype(np.float64).mean())  # noqa: E731
        yield f"each entry of the cotangent of {where} is taken for their mean", mean
        total = lambda d: np.full_like(d, d.astype(np.float64).sum())  # noqa: E731
        yield f"each entry of the cotangent of {where} is taken for their sum", total
    for a, b in itertools.combinations(range(d.ndim), 2):
        if d.shape[a] == d.shape[b] > 1:
            i, j = np.indices(d.shape, sparse=True)[a], np.indices(d.shape, sparse=True)[b]
            for side, used in (("on", i == j), ("off", i != j), ("up to", i >= j), ("from", i <= j)):
                of = f"{side} the diagonal of axes {a} and {b}"
                text = f"of the cotangent of {where} only what is {of} is used"
                yield text, lambda d, used=used: d * used.astype(d.dtype)


def _part_of_cotangent(d: np.ndarray, which: int, count: int) -> Iterator[tuple[str, Change]]:
    where = f"output[{which}]" if count > 1 else "the output"
    for axes in one_or_two_axes(d.ndim):
        along = f"axis {axes[0]}" if len(axes) == 1 else f"axes {axes}"
        if all(d.shape[a] > 1 for a in axes):
            text = f"of the cotangent of {where} only the first entry along {along} is used"
            yield text, lambda d, axes=axes: d * _every(d, {a: d.shape[a] for a in axes})
    for axis, n in enumerate(d.shape):
        for step in (step for step in range(2, n) if n % step == 0):
            text = f"of the cotangent of {where} only each entry whose index is a multiple of {step} along"
            yield f"{text} axis {axis} is used", lambda d, a=axis, n=step: d * _every(d, {a: n})


def _every(d: np.ndarray, steps: dict[int, int]) -> np.ndarray:
    """One at multiples of the steps along some axes, and zero elsewhere."""
    used = np.zeros(d.shape, d.dtype)
    used[tuple(slice(None, None, steps.get(a)) for a in range(d.ndim))] = 1
    return used


def _instead(leaf: Any) -> Iterator[tuple[str, Change]]:
    if jnp.issubdtype(dtype_of(leaf), jnp.bool_):
        yield "turned round", np.logical_not
        yield "that holds everywhere", np.ones_like
        yield "that holds nowhere", np.zeros_like
    elif is_integer(leaf):
        yield "+ 1", lambda x: x + np.asarray(1, x.dtype)
        yield "- 1", lambda x: x - np.asarray(1, x.dtype)
    elif is_floating(leaf):
        yield "= 1: is it forgotten?", np.ones_like
        yield "= 0: is it forgotten?", np.zeros_like
        yield "negated", np.negative
        for a, b in itertools.combinations(range(leaf.ndim), 2):
            if leaf.shape[a] == leaf.shape[b]:
                yield f"with axes {a} and {b} exchanged", lambda x, a=a, b=b: np.swapaxes(x, a, b)
        for axes in one_or_two_axes(leaf.ndim):
            for by in (1, -1):
                yield f"shifted by {by} along {', '.join(map(str, axes))}", _rolled(axes, by)
            yield f"reversed along {', '.join(map(str, axes))}", lambda x, axes=axes: np.flip(x, axes)


def _rolled(axes: tuple[int, ...], by: int) -> Change:
    return lambda x: np.roll(x, (by,) * len(axes), axes)


def _with_argument(which: int, change: Change) -> Callable[[Point], Point]:
    return lambda p: p._replace(args=_replaced(p.args, which, change))


def _with_cotangent(which: int, change: Change) -> Callable[[Point], Point]:
    return lambda p: p._replace(d_output=_replaced(p.d_output, which, change))


def _replaced(tree: Any, which: int, change: Change) -> Any:
    """The tree with one of its leaves changed."""
    leaves, structure = jax.tree.flatten(tree)
    leaves[which] = change(leaves[which])
    return jax.tree.unflatten(structure, leaves)
