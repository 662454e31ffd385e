"""The entries q of an array that each entry k of a window meets at its places p, one slice for each k."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from jax import lax
from jaxtyping import Array

from manual_bp.windows import Axis


def padded(x: Array, axes: tuple[Axis, ...], fill: float = 0) -> Array:
    """`x` (B, *S, I) with `fill` around, as far as the windows reach."""
    return lax.pad(x, x.dtype.type(fill), [(0, 0, 0), *((*a.ends, 0) for a in axes), (0, 0, 0)])


def numbers(axes: tuple[Axis, ...]) -> Iterator[tuple[int, ...]]:
    """Each k of the window, the last axis fastest."""
    return itertools.product(*(range(a.window) for a in axes))


def at(x: Array, k: Sequence[int], axes: tuple[Axis, ...]) -> Array:
    """x_bqi at q = s p + d k for all places p, (B, *P, I), of what is padded."""
    start = [a.dilation * i for a, i in zip(axes, k, strict=True)]
    end = [i + a.span + 1 for a, i in zip(axes, start, strict=True)]
    b, *_, i = x.shape
    return lax.slice(x, (0, *start, 0), (b, *end, i), (1, *(a.stride for a in axes), 1))


class Meeting(NamedTuple):
    """Along each axis the places p whose entry k is in the array, not in its padding, and its number q."""

    p: tuple[range, ...]
    q: tuple[range, ...]


def meeting(k: Sequence[int], axes: tuple[Axis, ...]) -> Meeting | None:
    """Where entry k of a window meets the array, or None."""
    p = tuple(a.inside(i) for a, i in zip(axes, k, strict=True))
    if not all(p):
        return None
    first = [a.stride * r.start + a.dilation * i - a.lo for a, i, r in zip(axes, k, p, strict=True)]
    ends = [q + a.stride * (len(r) - 1) + 1 for q, a, r in zip(first, axes, p, strict=True)]
    return Meeting(p, tuple(range(q, end, a.stride) for q, end, a in zip(first, ends, axes, strict=True)))


def taken(x: Array, rows: tuple[range, ...]) -> Array:
    """`x` (B, *S, I) at those numbers of each spatial axis."""
    start, end, step = zip(*((r.start, r.stop, r.step) for r in rows), strict=True)
    b, *_, i = x.shape
    return lax.slice(x, (0, *start, 0), (b, *end, i), (1, *step, 1))


def put(x: Array, rows: tuple[range, ...], sizes: Sequence[int]) -> Array:
    """`x` (B, *P, I) at those numbers of spatial axes of those sizes, zeros elsewhere."""
    around = [(r.start, size - r.stop, r.step - 1) for r, size in zip(rows, sizes, strict=True)]
    return lax.pad(x, x.dtype.type(0), [(0, 0, 0), *around, (0, 0, 0)])
