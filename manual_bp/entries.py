"""The entries of an array that each entry k of a window meets, one slice for each k."""

import itertools
from collections.abc import Iterator, Sequence

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
