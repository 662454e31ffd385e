"""Layouts: the right entries in other places, at some of their places alone, or cut off at another edge.

An axis may be two in one, as the rows of a window and the windows, or the heads of a group and the groups:
reshaped the other way round it is "tiled" for "repeated".
"""

import functools
import itertools
from collections.abc import Iterator

import numpy as np

from jax_ref.verify.comparison import tolerance
from jax_ref.verify.comparison.compare import Seen
from jax_ref.verify.diagnosis.explanation import Context, Explanation, one_or_two_axes

Array = np.ndarray
Split = dict[int, tuple[int, int]]
"""By axis the two lengths that it is made of."""

MOST = 4
"""The most axes of a cotangent whose layouts are tried."""

INSIDE = 0.5
"""The least share of the entries that a shift must tell, where others come in at the edge."""


def explanations(path: str, seen: list[Seen], context: Context) -> Iterator[Explanation]:
    """The simplest first."""
    c = seen[0].cotangents[path]
    if not 0 < c.exact.ndim <= MOST:
        return
    yield from _every_so_many(path, c.actual)
    if tolerance.distance(np.sort(c.actual, None), np.sort(c.exact, None)) <= 4 * c.bound:
        yield from _exchanged(path, c.exact.shape)
    yield from _cut_elsewhere(path, c.exact.shape)


def _every_so_many(path: str, actual: Array) -> Iterator[Explanation]:
    """Zero but at every second or third entry of some axes, from the first."""
    used = np.argwhere(actual)
    steps = [int(np.gcd.reduce(column)) if len(used) else 0 for column in used.T]
    strides = {a: n for a, n in enumerate(steps) if 1 < n < actual.shape[a]}
    if strides:
        index = tuple(slice(None, None, strides.get(a)) for a in range(actual.ndim))
        where = ", ".join(f"{n} of axis {a}" for a, n in strides.items())

        def predicted(s: Seen) -> Array:
            exact = s.cotangents[path].exact
            kept = np.zeros_like(exact)
            kept[index] = exact[index]
            return kept

        yield Explanation(
            "conditional", f"it is zero but at each entry whose index is a multiple of {where}", predicted
        )


def _exchanged(path: str, shape: tuple[int, ...]) -> Iterator[Explanation]:
    """One or two axes are split, and the parts are in another order."""
    for axes in one_or_two_axes(len(shape)):
        for lengths in itertools.product(*(_factors(shape[a]) for a in axes)):
            split = dict(zip(axes, lengths, strict=True))
            for order in itertools.permutations(range(2 * len(axes))):
                if _keeps(split, order):
                    yield Explanation(
                        "transposed",
                        _text(split, order),
                        lambda s, split=split, order=order: _reordered(
                            s.cotangents[path].exact, split, order
                        ),
                    )


def _factors(length: int) -> list[tuple[int, int]]:
    return [(n, length // n) for n in range(2, length) if length % n == 0]


def _keeps(split: Split, order: tuple[int, ...]) -> bool:
    """Whether both axes have their lengths again in another order, which moves a part of each."""
    lengths = [n for pair in split.values() for n in pair]
    pairs = list(zip(order[::2], order[1::2], strict=True))
    moved = all((2 * i, 2 * i + 1) != pair for i, pair in enumerate(pairs))
    same = [lengths[a] * lengths[b] for a, b in pairs] == [m * n for m, n in split.values()]
    return moved and same


def _reordered(x: Array, split: Split, order: tuple[int, ...]) -> Array | None:
    """The entries with the parts of the axes in another order; None for other lengths."""
    if any(x.shape[a] != m * n for a, (m, n) in split.items()):
        return None
    parts: list[list[int]] = []
    lengths: list[int] = []
    for a, n in enumerate(x.shape):
        parts.append(list(range(len(lengths), len(lengths) + (2 if a in split else 1))))
        lengths += split.get(a, (n,))
    flat = [part for a in split for part in parts[a]]
    moved = dict(zip(flat, (flat[k] for k in order), strict=True))
    return x.reshape(lengths).transpose([moved.get(k, k) for k in range(len(lengths))]).reshape(x.shape)


def _text(split: Split, order: tuple[int, ...]) -> str:
    names = "pqrs"
    before, after = (["".join(names[k] for k in ks[i : i + 2]) for i in range(0, len(ks), 2)]
                     for ks in (tuple(range(len(order))), order))  # fmt: skip
    axes = " and ".join(
        f"axis {a} is {m} x {n} entries ({pair})"
        for (a, (m, n)), pair in zip(split.items(), before, strict=True)
    )
    return f"its entries are in another layout: {axes}, read as {' and '.join(after)}"


def _cut_elsewhere(path: str, shape: tuple[int, ...]) -> Iterator[Explanation]:
    """Shifted by one, where what comes in at the edge is no entry of the right one."""
    for axes in one_or_two_axes(len(shape)):
        share = np.prod([1 - 1 / max(shape[a], 1) for a in axes])
        for by in (1, -1) if share >= INSIDE and np.prod(shape) > 4 else ():
            along = f"axis {axes[0]}" if len(axes) == 1 else f"axes {axes}"
            text = f"it is shifted by {by} along {along}, with other values at the edge"
            yield Explanation("shifted", text, functools.partial(_with_edge, path, axes, by))


def _with_edge(path: str, axes: tuple[int, ...], by: int, s: Seen) -> Array | None:
    """The shifted one, with what was found at the edge; None where that is all there is."""
    c = s.cotangents[path]
    rolled, inside = np.roll(c.exact, (by,) * len(axes), axes), np.ones(c.exact.shape, bool)
    for axis in axes:
        edge: list[slice | int] = [slice(None)] * c.exact.ndim
        edge[axis] = 0 if by > 0 else -1
        inside[tuple(edge)] = False
    return np.where(inside, rolled, c.actual) if np.any(rolled[inside]) else None
