"""Windows that slide over spatial axes: their options for each axis, and how many places they have.

A window of k entries, `dilation` apart, moves by `stride` over an axis of `size` entries with `lo` and `hi`
entries of padding at its ends; its entry k at place p is entry  p stride + k dilation - lo  of the axis.
"""

import math
from collections.abc import Sequence
from numbers import Integral
from typing import NamedTuple

from jaxtyping import Array

from manual_bp import checks

PerAxis = int | Sequence[int]
Padding = str | Sequence[tuple[int, int]]


class Axis(NamedTuple):
    """The window along one axis."""

    size: int
    window: int
    stride: int
    dilation: int
    lo: int
    hi: int

    @property
    def reach(self) -> int:
        """From the first entry of the window to its last."""
        return self.dilation * (self.window - 1)

    @property
    def places(self) -> int:
        """How many places the window has."""
        return (self.lo + self.size + self.hi - self.reach - 1) // self.stride + 1

    @property
    def ends(self) -> tuple[int, int]:
        """The padding as far as a window reaches, and no further: where negative, entries are cut off."""
        return self.lo, self.reach + self.span + 1 - self.size - self.lo

    def inside(self, k: int) -> range:
        """The places whose entry k is one of the axis, and none of its padding."""
        first = max(0, -((self.dilation * k - self.lo) // self.stride))
        end = min(self.places, (self.size - 1 + self.lo - self.dilation * k) // self.stride + 1)
        return range(first, max(first, end))

    @property
    def span(self) -> int:
        """From the first place to the last, in entries of the axis."""
        return self.stride * (self.places - 1)


def axes(
    op: str,
    sizes: Sequence[int],
    window: Sequence[int],
    strides: PerAxis,
    padding: Padding,
    dilation: PerAxis = 1,
) -> tuple[Axis, ...]:
    """The window along each spatial axis; an error that names the option, if there is none such."""
    count = len(sizes)
    steps = per_axis(op, "strides", strides, count)
    apart = per_axis(op, "dilation", dilation, count)
    ends = _ends(op, padding, sizes, window, steps, apart)
    found = tuple(
        Axis(*each, *end)
        for each, end in zip(zip(sizes, window, steps, apart, strict=True), ends, strict=True)
    )
    for number, axis in enumerate(found):
        padded = axis.lo + axis.size + axis.hi
        if axis.reach + 1 > padded:
            raise ValueError(
                f"{op}: the window reaches over {axis.reach + 1} entries of spatial axis {number}; expected "
                f"at most {padded}, its length with padding"
            )
    return found


def per_axis(op: str, name: str, value: PerAxis, count: int) -> tuple[int, ...]:
    """An option for each of `count` spatial axes: one positive integer for all, or a tuple of them."""
    expected = f"a positive integer, or {count} of them, one for each spatial axis"
    values = (value,) * count if isinstance(value, Integral) else value
    fits = isinstance(values, tuple | list) and len(values) == count and all(map(checks.is_count, values))
    checks.option(op, name, value, fits, expected)
    return tuple(map(int, values))  # pyright: ignore[reportArgumentType]


def one_batch(x: Array, count: int) -> Array:
    """`x` (*B, *S, C), of `count` spatial axes, with one leading axis."""
    leading = x.shape[: x.ndim - count - 1]
    return x if len(leading) == 1 else x.reshape(math.prod(leading), *x.shape[len(leading) :])


def _ends(
    op: str,
    padding: Padding,
    sizes: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    dilation: Sequence[int],
) -> list[tuple[int, int]]:
    """The padding at both ends of each axis."""
    if padding == "VALID":
        return [(0, 0)] * len(sizes)
    if padding == "SAME":
        totals = [
            max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
            for n, k, s, d in zip(sizes, window, strides, dilation, strict=True)
        ]
        return [(total // 2, total - total // 2) for total in totals]
    fits = isinstance(padding, tuple | list) and len(padding) == len(sizes) and all(map(_pair, padding))
    expected = f"'SAME', 'VALID' or {len(sizes)} pairs (lo, hi) of integers of at least 0"
    checks.option(op, "padding", padding, fits, expected)
    return [(int(lo), int(hi)) for lo, hi in padding]  # pyright: ignore[reportArgumentType]


def _pair(value: object) -> bool:
    return (
        isinstance(value, tuple | list)
        and len(value) == 2
        and all(isinstance(end, Integral) and not isinstance(end, bool) and int(end) >= 0 for end in value)
    )
