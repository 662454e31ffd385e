"""Contributions to the cotangents: what the cotangents of single entries of the output, or of rows, give.

A cotangent is linear in that of the output: it is the sum of its contributions. One program computes them for
all leaves and all axes.
"""

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.comparison.reference import Reference
from jax_ref.verify.oracle import wide
from jax_ref.verify.points.point import Point
from jax_ref.verify.program.compiled import Seldom
from jax_ref.verify.trees import floats, is_floating, widened

Array = np.ndarray

LONGEST = 64
"""The longest axis whose rows are taken one by one."""

MOST = 256
"""The most entries that are taken one by one."""

NUMBERS = 10_000_000
"""The most numbers in all contributions."""


class Contributions(NamedTuple):
    """By axis of the output and path, the contribution of each row; by path, that of each entry, if few."""

    of_rows: dict[int, dict[str, Array]]
    of_entries: dict[str, Array]


def contributions(reference: Reference, point: Point) -> Contributions:
    """Those at a point: the first axis of each array numbers the rows, or the entries."""
    args, d_output = widened((point.args, point.d_output))
    numbers = sum(np.size(x) for x in floats(args))
    alone = [d.size for d in jax.tree.leaves(d_output)]
    if len(alone) == 1 and 1 < alone[0] <= min(MOST, NUMBERS // max(numbers, 1)):
        shape = jax.tree.leaves(d_output)[0].shape
        ones = jax.tree.map(lambda d: np.eye(d.size).reshape(d.size, *d.shape) * d, d_output)
        found = _each(reference, args, ones)
        rows = {axis: {k: _summed(c, shape, axis) for k, c in found.items()} for axis in axes(d_output)}
        return Contributions(rows, found)
    masked = [jax.tree.map(functools.partial(_rows, axis=axis), d_output) for axis in axes(d_output)]
    if not masked:
        return Contributions({}, {})
    found = _each(reference, args, jax.tree.map(lambda *ds: np.concatenate(ds), *masked))
    ends = np.cumsum([0, *(len(jax.tree.leaves(d)[0]) for d in masked)])
    return Contributions(
        {
            axis: {k: c[start:end] for k, c in found.items()}
            for axis, start, end in zip(axes(d_output), ends[:-1], ends[1:], strict=True)
        },
        {},
    )


def axes(d_output: PyTree) -> Iterator[int]:
    """The axes that all leaves of the output have, and share the length of."""
    shapes = [np.shape(d) for d in jax.tree.leaves(d_output)]
    for axis in range(min(map(len, shapes), default=0)):
        lengths = {shape[axis] for shape in shapes}
        if len(lengths) == 1 and 1 < min(lengths) <= LONGEST:
            yield axis


def _rows(d: Array, axis: int) -> Array:
    """(N, *shape): the cotangent with all but one of its N rows along the axis zero."""
    size = d.shape[axis]
    mask = np.eye(size).reshape(size, *(size if a == axis else 1 for a in range(d.ndim)))
    return mask * d if is_floating(d) else np.broadcast_to(d, (size, *d.shape))


def _summed(of_entries: Array, shape: tuple[int, ...], axis: int) -> Array:
    """(N, *leaf): the contributions of the entries of an output of a shape, summed to those of its rows."""
    apart = of_entries.reshape(*shape, *of_entries.shape[1:])
    return apart.sum(tuple(a for a in range(len(shape)) if a != axis))


def _each(reference: Reference, args: tuple[PyTree, ...], d_outputs: PyTree) -> dict[str, Array]:
    with wide():
        found = _mapped(reference)(args, d_outputs)
    return {path: np.asarray(c) for path, c in found.items() if c is not None}


@functools.lru_cache(maxsize=32)
def _mapped(reference: Reference) -> Any:
    """`(args, several) -> {path: cotangents}` for several cotangents of the output at once."""

    def each(args: tuple[PyTree, ...], several: PyTree) -> Any:
        return jax.vmap(lambda d: reference.differentiated(args, d)[1])(several)

    return Seldom(each)
