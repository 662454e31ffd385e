r"""Pooling: the largest entry, or the mean, of a window.   Axes: B leading, S spatial, P places of the
window, K its entries, C channels.

The window's entry k at place p is  q = s p + k - lo,  with strides s and `lo` entries of padding before; p, k
and q have a component for each spatial axis:

    max:      y_bpc  = max_k x_bqc                                  (1)
              dx_bqc = sum_pk dy_bpc [k = f_bpc],   f the first k of the largest entry      (2)
    average:  y_bpc  = sum_k x_bqc / n_p                            (3)
              dx_bqc = sum_pk dy_bpc / n_p                          (4)

The sums in (2) and (4) are over the p and k with s p + k - lo = q. Padding is -inf for the maximum and 0 for
the mean, and n_p counts it unless `count_include_pad` is false. The first entry is the first in row-major
order, as JAX has it; where a window holds NaN, y is NaN and f the first NaN.

Windows that tile the axes (strides equal to the window, no padding) have one p and one k for each q: there
(2) is a comparison and (4) a copy. Others have a term for each k; the program grows with the window.

Saved: f, in one byte where the window has no more than 256 entries; of the mean nothing but the shape.
Scherer, Müller & Behnke 2010, doi:10.1007/978-3-642-15825-4_10.
"""

import functools
import itertools
import math
import operator
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, DTypeLike, Float, Integer

from manual_bp import checks, entries, windows
from manual_bp.precision import wide
from manual_bp.sharding import reshaped
from manual_bp.windows import Axis, Padding, PerAxis


class Pool(NamedTuple):
    """A pair: `fwd(x, **static) -> (y, residuals)` and `bwd(residuals, dy, **static) -> dx`."""

    fwd: Callable[..., tuple[Array, Any]]
    bwd: Callable[..., Array]


Form = Float[Array, "*BS 0"]
"""An array without entries that has the shape and dtype of x."""


class Residuals(NamedTuple):
    """Of the maximum: which entry of the window it is first, and the form of x."""

    first: Integer[Array, "*BP"]
    form: Form


def _max_fwd(
    x: Float[Array, "*BS"],
    *,
    window: PerAxis,
    strides: PerAxis | None = None,
    padding: Padding = "VALID",
) -> tuple[Float[Array, "*BP"], Residuals]:
    """The largest entry of each window of `x` (*B, *S, C): (*B, *P, C).

    `padding` is "VALID" (none), "SAME", or (lo, hi) for each spatial axis; without `strides` they are the
    window. A tuple among the three says how many spatial axes there are; otherwise they are all axes between
    the first and the last.
    """
    axes = _axes("pool.max", x, window, strides, padding)
    batch = windows.one_batch(x, len(axes))
    each = _entries_of_tiles(batch, axes) if _tile(axes) else _entries(batch, axes, -jnp.inf)
    y, first = _first_of(each, _numbers(axes).dtype)
    shape = _output(x.shape, axes)
    return y.reshape(shape), Residuals(first.reshape(shape), _form(x))


def _max_bwd(
    res: Residuals,
    dy: Float[Array, "*BP"],
    *,
    window: PerAxis,
    strides: PerAxis | None = None,
    padding: Padding = "VALID",
) -> Float[Array, "*BS"]:
    """The cotangent of `x`."""
    x = _of(res.form)
    axes = _axes("pool.max", x, window, strides, padding)
    checks.cotangent("pool.max", "dy", dy, jax.ShapeDtypeStruct(_output(x.shape, axes), x.dtype))
    first, dy_ = (windows.one_batch(a, len(axes)) for a in (res.first, dy))
    if _tile(axes):
        dx = _untiled(jnp.where(_spread(first, axes) == _numbers(axes), _spread(dy_, axes), 0), axes)  # (2)
    else:
        kept = (jnp.where(first == k, wide(dy_), 0) for k in _numbers(axes).ravel())
        dx = _summed(kept, axes)  # (2)
    return dx.astype(x.dtype).reshape(x.shape)


def _average_fwd(
    x: Float[Array, "*BS"],
    *,
    window: PerAxis,
    strides: PerAxis | None = None,
    padding: Padding = "VALID",
    count_include_pad: bool = True,
) -> tuple[Float[Array, "*BP"], Form]:
    """The mean of each window of `x` (*B, *S, C): (*B, *P, C); options as those of the maximum.

    With `count_include_pad` padding counts as zeros; otherwise the mean is of the entries that are there,
    and NaN where there are none.
    """
    checks.flag("pool.average", "count_include_pad", count_include_pad)
    axes = _axes("pool.average", x, window, strides, padding)
    batch = wide(windows.one_batch(x, len(axes)))
    if _tile(axes):
        tiles = _tiles(batch, axes)
        total = jnp.sum(tiles, range(2, tiles.ndim, 2))
    else:
        total = functools.reduce(operator.add, _entries(batch, axes, 0.0))
    y = total / _counts(axes, count_include_pad, total)  # (3)
    return y.astype(x.dtype).reshape(_output(x.shape, axes)), _form(x)


def _average_bwd(
    form: Form,
    dy: Float[Array, "*BP"],
    *,
    window: PerAxis,
    strides: PerAxis | None = None,
    padding: Padding = "VALID",
    count_include_pad: bool = True,
) -> Float[Array, "*BS"]:
    """The cotangent of `x`."""
    x = _of(form)
    axes = _axes("pool.average", x, window, strides, padding)
    checks.cotangent("pool.average", "dy", dy, jax.ShapeDtypeStruct(_output(x.shape, axes), x.dtype))
    dy_ = wide(windows.one_batch(dy, len(axes)))
    share = dy_ / _counts(axes, count_include_pad, dy_)
    if _tile(axes):
        tiles = (dy_.shape[0], *itertools.chain(*((a.places, a.window) for a in axes)), dy_.shape[-1])
        dx = _untiled(jnp.broadcast_to(_spread(share, axes), tiles), axes)  # (4)
    else:
        dx = _summed(itertools.repeat(share, _numbers(axes).size), axes)  # (4)
    return dx.astype(x.dtype).reshape(x.shape)


max = Pool(_max_fwd, _max_bwd)  # noqa: A001
average = Pool(_average_fwd, _average_bwd)


def _tile(axes: tuple[Axis, ...]) -> bool:
    """Whether no two windows share an entry and none has padding."""
    return all(a.window == a.stride and a.lo == a.hi == 0 for a in axes)


def _tiles(x: Array, axes: tuple[Axis, ...]) -> Array:
    """(B, P, K, ..., C) of (B, *S, C), without what is left at the ends."""
    whole = x[(slice(None), *(slice(a.places * a.window) for a in axes))]
    parts = itertools.chain(*((a.places, a.window) for a in axes))
    return reshaped(whole, (x.shape[0], *parts, x.shape[-1]))


def _spread(y: Array, axes: tuple[Axis, ...]) -> Array:
    """(B, *P, C) with an axis of length 1 for each K."""
    return jnp.expand_dims(y, tuple(range(2, 2 * len(axes) + 1, 2)))


def _untiled(tiles: Array, axes: tuple[Axis, ...]) -> Array:
    """(B, *S, C) of (B, P, K, ..., C), with zeros for what was left at the ends."""
    sizes = (a.places * a.window for a in axes)
    whole = reshaped(tiles, (tiles.shape[0], *sizes, tiles.shape[-1]))
    ends = [(0, 0), *((0, a.size - a.places * a.window) for a in axes), (0, 0)]
    return jnp.pad(whole, ends)


def _numbers(axes: tuple[Axis, ...]) -> np.ndarray:
    """The numbers of a window's entries in row-major order, (1, 1, K, ..., 1) as tiles have them."""
    count = math.prod(a.window for a in axes)
    shape = (1, *itertools.chain(*((1, a.window) for a in axes)), 1)
    return np.arange(count, dtype=np.uint8 if count <= 256 else np.int32).reshape(shape)


def _entries(x: Array, axes: tuple[Axis, ...], fill: float) -> Iterator[Array]:
    """The entry k of every window, (B, *P, C), for each k in row-major order."""
    padded = entries.padded(x, axes, fill)
    return (entries.at(padded, k, axes) for k in entries.numbers(axes))


def _entries_of_tiles(x: Array, axes: tuple[Axis, ...]) -> Iterator[Array]:
    """The same where windows tile the axes."""
    tiles = _tiles(x, axes)
    for entry in entries.numbers(axes):
        yield tiles[(slice(None), *itertools.chain(*((slice(None), k) for k in entry)))]


def _first_of(each: Iterator[Array], dtype: DTypeLike) -> tuple[Array, Array]:
    """The largest of the entries, and the number of the first that is.

    Each entry is compared with those before it, never with the maximum: XLA may compute both anew and round
    them differently, so that none would be equal.
    """
    largest = next(each)
    first = jnp.zeros(largest.shape, dtype)
    for number, entry in enumerate(each, 1):
        larger = (entry > largest) | (jnp.isnan(entry) & ~jnp.isnan(largest))
        largest = jnp.where(larger, entry, largest)  # (1)
        first = jnp.where(larger, jnp.asarray(number, dtype), first)
    return largest, first


def _summed(terms: Iterator[Array], axes: tuple[Axis, ...]) -> Array:
    """(B, *S, C): the term of each k, (B, *P, C), put where that entry of the windows is, and added."""
    total = None
    for term, entry in zip(terms, entries.numbers(axes), strict=True):
        ends = [
            (k - a.lo, a.size - (k - a.lo) - a.span - 1, a.stride - 1)
            for k, a in zip(entry, axes, strict=True)
        ]
        placed = lax.pad(term, jnp.zeros((), term.dtype), [(0, 0, 0), *ends, (0, 0, 0)])
        total = placed if total is None else total + placed
    assert total is not None
    return total


def _counts(axes: tuple[Axis, ...], count_include_pad: bool, like: Array) -> Array:
    """n_p, (1, *P, 1)."""
    if count_include_pad:
        counts = np.full((1,) * like.ndim, math.prod(a.window for a in axes))
    else:
        of_axis = [
            np.array([
                np.count_nonzero([0 <= p * a.stride + k - a.lo < a.size for k in range(a.window)])
                for p in range(a.places)
            ])
            for a in axes
        ]  # fmt: skip
        counts = np.multiply.reduce(np.meshgrid(*of_axis, indexing="ij"))[None, ..., None]
    return jnp.broadcast_to(jnp.asarray(counts, like.dtype), (1, *(like.shape[1:-1]), 1))


def _axes(op: str, x: Any, window: PerAxis, strides: PerAxis | None, padding: Padding) -> tuple[Axis, ...]:
    """The window along each spatial axis."""
    checks.floating(op, x=x)
    told = [len(v) for v in (window, strides, padding) if isinstance(v, tuple | list)]
    count = told[0] if told else x.ndim - 2
    if count < 1 or x.ndim < count + 1:
        wanted = f"{count} spatial axes and channels" if told else "a batch, spatial axes and channels"
        raise ValueError(f"{op}: x has shape {x.shape}; expected {wanted}")
    over = windows.per_axis(op, "window", window, count)
    return windows.axes(op, x.shape[-count - 1 : -1], over, over if strides is None else strides, padding)


def _output(shape: tuple[int, ...], axes: tuple[Axis, ...]) -> tuple[int, ...]:
    return (*shape[: len(shape) - len(axes) - 1], *(a.places for a in axes), shape[-1])


def _form(x: Array) -> Form:
    return jnp.zeros((*x.shape, 0), x.dtype)


def _of(form: Form) -> Any:
    """The shape and dtype that a form has kept."""
    return jax.ShapeDtypeStruct(form.shape[:-1], form.dtype)
