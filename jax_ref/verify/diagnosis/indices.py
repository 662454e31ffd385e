"""Repeated indices: of what goes to the same row only the last share stays, or the first.

An index of JAX is written with `.set`, or one of NumPy with `=`, where it must be added to.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from jax_ref.verify.comparison.compare import Seen
from jax_ref.verify.diagnosis import conditions
from jax_ref.verify.diagnosis.explanation import Context, Explanation, off_kinks
from jax_ref.verify.points.point import Point
from jax_ref.verify.trees import is_floating, is_integer

OVERWRITTEN = "repeated indices are overwritten, not added to: {} only the {} share stays"


def explanations(path: str, seen: list[Seen], context: Context) -> Iterator[Explanation]:
    """The right one for a cotangent of the output that is zero wherever the same index comes once more."""
    for which, (name, leaf) in enumerate(context.reference.leaves(seen[0].point.args).items()):
        if not (hasattr(leaf, "dtype") and is_integer(leaf) and np.size(leaf) > 1):
            continue
        for stays, step in (("last", -1), ("first", 1)):
            text = OVERWRITTEN.format(conditions.REPEATED.format(name), stays)
            yield Explanation("conditional", text, _predicted(path, which, step, context))
        if all(_only_at_repeated(s, path, name, context) for s in off_kinks(seen)):
            yield from _in_a_step(path, seen[0], context)


def _only_at_repeated(s: Seen, path: str, name: str, context: Context) -> bool:
    """Whether only rows are wrong that an argument names more than once."""
    c = s.cotangents[path]
    ids = np.asarray(context.reference.leaves(s.point.args)[name])
    found, counts = np.unique(ids, return_counts=True)
    rows = np.arange(len(c.exact))[:, None] if c.exact.ndim else np.zeros((0, 1))
    wrong = np.abs(c.actual - c.exact).reshape(len(rows), -1).max(1, initial=0) > c.bound
    return bool(np.any(wrong)) and not np.any(wrong & ~np.isin(rows[:, 0], found[counts > 1]))


def _in_a_step(path: str, first: Seen, context: Context) -> Iterator[Explanation]:
    """What comes of it in a single step of the reference."""
    for mistake in context.mistaken(first, False):
        if mistake.row.name == "overwritten":

            def predicted(s: Seen, mistake: Any = mistake) -> Any:
                return context.mistaken(s, False).get(mistake, {}).get(path)

            yield Explanation(mistake.row.kind, mistake.text, predicted)


def _predicted(path: str, which: int, step: int, context: Context) -> Callable[[Seen], Any]:
    def predicted(s: Seen) -> Any:
        moved = _of_one_share(s.point, which, step)
        return None if moved is None else np.asarray(context.sides.exact(moved)[1][path])

    return predicted


def _of_one_share(point: Point, which: int, step: int) -> Point | None:
    """The point with the cotangent kept where an index is met for the first time, from either end."""
    ids = np.asarray(jax.tree.leaves(point.args)[which])
    if any(np.shape(d)[: ids.ndim] != ids.shape for d in jax.tree.leaves(point.d_output)):
        return None
    kept = np.zeros(ids.size, bool)
    kept[::step][np.unique(ids.ravel()[::step], return_index=True)[1]] = True
    kept = kept.reshape(ids.shape)

    def leaf(d: Any) -> Any:
        return d * kept.reshape(*ids.shape, *(1,) * (d.ndim - ids.ndim)) if is_floating(d) else d

    return point._replace(d_output=jax.tree.map(leaf, point.d_output))
