"""Tiles of the scores of attention: which there are, and which of them no query needs.

Axes: T queries, S keys. A tile is some queries in a row and some keys in a row. Everything here is known when
a program is traced.
"""

from math import log2
from typing import NamedTuple

import numpy as np

SCORES = 2**20
"""Scores that the tiles of all heads of a batch have together, so that they stay in cache."""

SMALLEST = 64
"""Queries, or keys, that a tile has at least, for the sake of matrix products."""


class Tiles(NamedTuple):
    """Queries and keys of a tile; how many there are; the tiles to visit, by their numbers in rows.

    If none `is_cut`, every query may attend to every key of its tiles; else it has to be asked, in all of
    them: in a program of their own whole tiles would take some hundredths less time, and as long again to
    compile.
    """

    queries: int
    keys: int
    of_queries: int
    of_keys: int
    visited: np.ndarray
    is_cut: bool

    @property
    def is_one(self) -> bool:
        """Whether a single tile, which is visited, is all queries and all keys."""
        return len(self.visited) > 0 and self.queries >= self.of_queries and self.keys >= self.of_keys


def size(block: int | tuple[int, int] | None, queries: int, keys: int, heads: int) -> tuple[int, int]:
    """Queries and keys of a tile: those of `block`, or by the heads of the batch; no more than there are."""
    if block is None:
        rows = max(SMALLEST, 2 ** (int(log2(SCORES / heads)) // 2))
        block = (rows, 2 * rows if 2 * rows * rows * heads <= SCORES else rows)
    rows, columns = block if isinstance(block, tuple) else (block, block)
    return max(1, min(int(rows), queries)), max(1, min(int(columns), keys))


def tiles(
    queries: int,
    keys: int,
    block: tuple[int, int],
    *,
    causal: bool,
    window: int | None,
    query_offset: int,
    masked: bool,
) -> Tiles:
    """The tiles that some query needs; none is whole if `masked`, as anything may be masked then."""
    rows, columns = block
    first = np.arange(0, queries, rows)[:, None]
    complete = first + rows <= queries
    last = np.minimum(first + rows, queries) - 1
    start = np.arange(0, keys, columns)[None]
    end = np.minimum(start + columns, keys) - 1
    first, last = first + query_offset, last + query_offset
    needed = np.full((len(first), start.shape[1]), True)
    whole = needed & complete & (start + columns <= keys) & (not masked)
    if causal:
        needed &= start <= last
        whole &= end <= first
    if window is not None:
        needed &= end > first - window
        whole &= start > last - window
    is_cut = bool(np.any(needed & ~whole))
    return Tiles(rows, columns, queries, keys, np.argwhere(needed).astype(np.int32), is_cut)
