"""Wrong reductions: what each example, step or channel of the output adds to a cotangent, summed otherwise.

A cotangent is linear in that of the output: it is the sum over the entries of an axis of what their
cotangents give.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.comparison.compare import Seen
from jax_ref.verify.comparison.reference import Reference
from jax_ref.verify.diagnosis.explanation import Context, Explanation
from jax_ref.verify.oracle import wide
from jax_ref.verify.points.point import Point
from jax_ref.verify.trees import widened

Array = np.ndarray

LIMIT = 64
"""The longest axis whose entries are taken one by one."""


def explanations(path: str, seen: list[Seen], context: Context) -> Iterator[Explanation]:
    """Reductions along each axis of the output, but not along the batch of a leaf that has it too."""
    first, reference = seen[0], context.reference
    batched = list(reference.leaves(first.point.args)).index(path) in context.batched
    for axis in _axes(first.point.d_output):
        if axis == 0 and batched:
            continue

        @functools.cache
        def shares(s: Seen, axis: int = axis) -> Array:
            return _along(reference, s.point, axis, path)

        entry = "example" if axis == 0 and context.batched else f"entry along axis {axis} of the output"
        for text, reduce in _reductions(shares(first), entry):
            yield Explanation("reduction", f"it is {text}", lambda s, of=shares, r=reduce: r(of(s)))


def _axes(d_output: PyTree) -> Iterator[int]:
    """The axes that all leaves of the output have, and share the length of."""
    shapes = [np.shape(d) for d in jax.tree.leaves(d_output)]
    for axis in range(min(map(len, shapes), default=0)):
        lengths = {shape[axis] for shape in shapes}
        if len(lengths) == 1 and 1 < min(lengths) <= LIMIT:
            yield axis


def _along(reference: Reference, point: Point, axis: int, path: str) -> Array:
    """(N, *shape): what each of the N entries along an axis of the output gives the leaf at `path`."""
    with wide():
        args, d_output = widened((point.args, point.d_output))

        def alone(d: Array) -> Array:
            size = d.shape[axis]
            mask = np.eye(size).reshape(size, *(size if a == axis else 1 for a in range(d.ndim)))
            return mask * d

        def each(args: tuple[PyTree, ...], several: PyTree) -> Any:
            return jax.vmap(lambda d: reference.differentiated(args, d)[1][path])(several)

        return np.asarray(jax.jit(each)(args, jax.tree.map(alone, d_output)))


def _reductions(c: Array, entry: str) -> Iterator[tuple[str, Callable[[Array], Array]]]:
    """Wrong ways to reduce contributions, each of an `entry`, to one cotangent of the right shape."""
    yield f"only the first {entry}'s share", lambda c: c[0]
    yield f"only the last {entry}'s share", lambda c: c[-1]
    yield f"without the last {entry}'s share", lambda c: c[:-1].sum(0)
    yield f"without the first {entry}'s share", lambda c: c[1:].sum(0)
    for tile in (2, 4, 8, 16, 32):
        whole = len(c) // tile * tile
        if whole not in (0, len(c), len(c) - 1):
            text = f"without the shares after the last whole block of {tile} {entry}s"
            yield text, lambda c, n=whole: c[:n].sum(0)
    yield f"the mean over the {entry}s, not their sum", lambda c: c.mean(0)
    yield f"the largest of the {entry}s' shares, not their sum", lambda c: c.max(0)
    for axis in range(1, c.ndim):
        if c.sum(axis).shape == c.shape[1:]:
            text = f"summed over axis {axis - 1} of each share, not over the {entry}s"
            yield text, lambda c, a=axis: c.sum(a)
