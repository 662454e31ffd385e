r"""Collectives, each a pair with its transpose.   Axes: s, r devices along a mesh axis, n of them.

    pair            y = A x                              A^T dy
    copy            y^s = x                              dx = sum_s dy^s                all_reduce     (1)
    all_reduce      y = sum_s x^s                        dx^s = dy                      copy           (2)
    all_gather      y^s = [x^1 .. x^n]                   dx^s = (sum_r dy^r)^s          reduce_scatter (3)
    reduce_scatter  y^s = (sum_r x^r)^s                  dx^s = [dy^1 .. dy^n]          all_gather     (4)
    shift           y^(s+1) = x^s,  y^1 = x^n            dx^s = dy^(s+1)                shift back     (5)
    all_to_all      y^s = [(x^1)^s .. (x^n)^s]           dx^s = [(dy^1)^s .. (dy^n)^s]  itself         (6)

(.)^s is part s of n of the axis `dim`, and [..] puts parts together along it. x and y without a superscript
are the same on all devices, and their cotangents are too; the inner product that a transpose is one for
counts them once. So `copy` is the identity with a gradient: it stands where a replicated value enters a
computation in shares, and `all_reduce` where one leaves it.

Each is called inside `jax.shard_map`, and is the identity for `axis=None`. Nothing is saved.

Megatron-LM's f and g are (1) and (2): Shoeybi et al. 2019, arXiv:1909.08053.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from jax import lax
from jaxtyping import Array

from manual_bp import checks
from manual_bp.parallel import axes
from manual_bp.parallel.axes import Axis


class _Pair(NamedTuple):
    fwd: Callable[..., tuple[Any, None]]
    bwd: Callable[..., Any]


class Collective(_Pair):
    """A pair: `fwd(x, *, axis, dim=0) -> (y, None)` and `bwd(None, dy, *, axis, dim=0) -> dx`."""

    def __repr__(self) -> str:
        """The two functions' names, without their places in memory."""
        return f"Collective({self.fwd.__name__}, {self.bwd.__name__})"


def _copy_fwd(x: Array, *, axis: Axis) -> tuple[Array, None]:
    """`x` on each device, where it goes on by itself."""
    axes.check("copy", axis)
    return axes.vary(x, axis), None  # (1)


def _copy_bwd(res: None, dy: Array, *, axis: Axis) -> Array:
    """The sum of the devices' shares."""
    return _summed("copy", "dy", dy, axis)  # (1)


def _all_reduce_fwd(x: Array, *, axis: Axis) -> tuple[Array, None]:
    """The sum of the devices' shares, on each of them."""
    return _summed("all_reduce", "x", x, axis), None  # (2)


def _all_reduce_bwd(res: None, dy: Array, *, axis: Axis) -> Array:
    """`dy` for each share."""
    return axes.vary(dy, axis)  # (2)


def _all_gather_fwd(x: Array, *, axis: str | None, dim: int = 0) -> tuple[Array, None]:
    """All parts, on each device."""
    return _gathered("all_gather", "x", x, axis, dim), None  # (3)


def _all_gather_bwd(res: None, dy: Array, *, axis: str | None, dim: int = 0) -> Array:
    """The part of the sum that is this device's."""
    return _scattered("all_gather", "dy", dy, axis, dim)  # (3)


def _reduce_scatter_fwd(x: Array, *, axis: str | None, dim: int = 0) -> tuple[Array, None]:
    """The part of the sum that is this device's."""
    return _scattered("reduce_scatter", "x", x, axis, dim), None  # (4)


def _reduce_scatter_bwd(res: None, dy: Array, *, axis: str | None, dim: int = 0) -> Array:
    """All parts, on each device."""
    return _gathered("reduce_scatter", "dy", dy, axis, dim)  # (4)


def _shift_fwd(x: Array, *, axis: str | None) -> tuple[Array, None]:
    """What the device before has; the first gets the last one's."""
    return _shifted("shift", x, axis, 1), None  # (5)


def _shift_bwd(res: None, dy: Array, *, axis: str | None) -> Array:
    """What the device after has."""
    return _shifted("shift", dy, axis, -1)  # (5)


def _all_to_all_fwd(x: Array, *, axis: str | None, dim: int = 0) -> tuple[Array, None]:
    """Part s of each device's `x`, on device s."""
    return _exchanged("all_to_all", "x", x, axis, dim), None  # (6)


def _all_to_all_bwd(res: None, dy: Array, *, axis: str | None, dim: int = 0) -> Array:
    """Part s of each device's `dy`, on device s."""
    return _exchanged("all_to_all", "dy", dy, axis, dim)  # (6)


copy = Collective(_copy_fwd, _copy_bwd)
all_reduce = Collective(_all_reduce_fwd, _all_reduce_bwd)
all_gather = Collective(_all_gather_fwd, _all_gather_bwd)
reduce_scatter = Collective(_reduce_scatter_fwd, _reduce_scatter_bwd)
shift = Collective(_shift_fwd, _shift_bwd)
all_to_all = Collective(_all_to_all_fwd, _all_to_all_bwd)

MEMBERS = {
    "copy": copy,
    "all_reduce": all_reduce,
    "all_gather": all_gather,
    "reduce_scatter": reduce_scatter,
    "shift": shift,
    "all_to_all": all_to_all,
}
"""The pairs by name."""


def _summed(op: str, name: str, x: Array, axis: Axis) -> Array:
    axes.check(op, axis)
    axes.shares(op, {name: x}, axis)
    return lax.psum(x, axes.names(axis)) if axes.names(axis) else x


def _gathered(op: str, name: str, x: Array, axis: str | None, dim: int) -> Array:
    axes.check(op, axis)
    _check_dim(op, name, x, dim)
    return x if axis is None else lax.all_gather(axes.vary(x, axis), axis, axis=dim, tiled=True)


def _scattered(op: str, name: str, x: Array, axis: str | None, dim: int) -> Array:
    axes.check(op, axis)
    axes.shares(op, {name: x}, axis)
    _check_parts(op, name, x, axis, dim)
    return x if axis is None else lax.psum_scatter(x, axis, scatter_dimension=dim, tiled=True)


def _exchanged(op: str, name: str, x: Array, axis: str | None, dim: int) -> Array:
    axes.check(op, axis)
    _check_parts(op, name, x, axis, dim)
    return x if axis is None else lax.all_to_all(axes.vary(x, axis), axis, dim, dim, tiled=True)


def _shifted(op: str, x: Array, axis: str | None, by: int) -> Array:
    axes.check(op, axis)
    if axis is None:
        return x
    n = axes.size(axis)
    return lax.ppermute(axes.vary(x, axis), axis, [(s, (s + by) % n) for s in range(n)])


def _check_dim(op: str, name: str, x: Array, dim: int) -> None:
    if not 0 <= dim < x.ndim:
        expected = f"an axis of {name}, which has shape {x.shape}, counted from 0"
        checks.option(op, "dim", dim, False, expected)


def _check_parts(op: str, name: str, x: Array, axis: str | None, dim: int) -> None:
    _check_dim(op, name, x, dim)
    axes.divisible(op, f"{name} has shape {x.shape}", x.shape[dim], axis)
