r"""Norms by name as a layer of a network has them, with the running statistics that they keep.   Axes: B all
but the last, C channels.

    y, new = batch_norm(x),   after = m before + (1 - m) new        (1)
    y      = frozen_batch_norm(x; before),   after = before         (2)

    dnew   = (1 - m) dafter,  dbefore = m dafter                    (3)
    dbefore = the cotangent of (2) by its statistics, + dafter      (4)

m is the momentum. (1) is what a network is trained with, (2) what it is evaluated with, by the same params.
Where the examples lie over a mesh axis, the statistics of (1) are those of all devices. The name "none" is
for a network without: there is None in place of params and statistics.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float

from manual_bp.ops import batch_norm, frozen_batch_norm
from manual_bp.ops.batch_norm import Statistics
from manual_bp.parallel import batch_norm as over_devices
from manual_bp.parallel.axes import Axis
from manual_bp.taps import Tapper


class Norm(NamedTuple):
    """The op whose `init` makes the params, or None; and a pair that takes and gives statistics beside x.

    `fwd(params, x, before, *, momentum, axis) -> ((y, after), residuals)`;
    `bwd(params, residuals, (dy, dafter), *, momentum, axis, tap) -> (dparams, dx, dbefore)`.
    """

    op: Any
    keeps_statistics: bool
    fwd: Callable[..., tuple[Any, Any]]
    bwd: Callable[..., tuple[Any, Any, Any]]


def _batch_fwd(
    params: batch_norm.Params, x: Float[Array, "*B C"], before: Statistics, *, momentum: float, axis: Axis
) -> tuple[tuple[Float[Array, "*B C"], Statistics], batch_norm.Residuals]:
    op, static = _over(axis)
    (y, new), res = op.fwd(params, x, **static)
    after = batch_norm.running(_cast(before, new), new, momentum=momentum)  # (1)
    return (y, _cast(after, before)), res


def _batch_bwd(
    params: batch_norm.Params,
    res: batch_norm.Residuals,
    d_output: tuple[Float[Array, "*B C"], Statistics],
    *,
    momentum: float,
    axis: Axis,
    tap: Tapper,
) -> tuple[batch_norm.Params, Float[Array, "*B C"], Statistics]:
    dy, d_after = d_output
    d_wide = jax.tree.map(lambda d: d.astype(res.r.dtype), d_after)
    momentum = float(momentum)
    d_new = jax.tree.map(lambda d: (1 - momentum) * d, d_wide)  # (3)
    d_before = _cast(jax.tree.map(lambda d: momentum * d, d_wide), d_after)
    op, static = _over(axis)
    d_params, dx = tap(op, params, res, (dy, d_new), **static)
    return d_params, dx, d_before


def _over(axis: Axis) -> tuple[Any, dict[str, Any]]:
    """The op by the statistics of this device's entries, or of those of all devices along the axis."""
    return (batch_norm, {}) if axis is None else (over_devices, {"axis": axis})


def _frozen_fwd(
    params: batch_norm.Params, x: Float[Array, "*B C"], before: Statistics, *, momentum: float, axis: Axis
) -> tuple[tuple[Float[Array, "*B C"], Statistics], frozen_batch_norm.Residuals]:
    y, res = frozen_batch_norm.fwd(params, x, before)  # (2)
    return (y, before), res


def _frozen_bwd(
    params: batch_norm.Params,
    res: frozen_batch_norm.Residuals,
    d_output: tuple[Float[Array, "*B C"], Statistics],
    *,
    momentum: float,
    axis: Axis,
    tap: Tapper,
) -> tuple[batch_norm.Params, Float[Array, "*B C"], Statistics]:
    dy, d_after = d_output
    d_params, dx, d_statistics = tap(frozen_batch_norm, params, res, dy)
    return d_params, dx, jax.tree.map(lambda a, b: a + b, d_statistics, d_after)  # (4)


def _none_fwd(
    params: None, x: Float[Array, "*B C"], before: None, *, momentum: float, axis: Axis
) -> tuple[tuple[Float[Array, "*B C"], None], None]:
    return (x, None), None


def _none_bwd(
    params: None,
    res: None,
    d_output: tuple[Float[Array, "*B C"], None],
    *,
    momentum: float,
    axis: Axis,
    tap: Tapper,
) -> tuple[None, Float[Array, "*B C"], None]:
    return None, d_output[0], None


def _cast(statistics: Statistics, like: Statistics) -> Statistics:
    return jax.tree.map(lambda s, other: s.astype(other.dtype), statistics, like)


NORMS = {
    "batch_norm": Norm(batch_norm, True, _batch_fwd, _batch_bwd),
    "frozen_batch_norm": Norm(frozen_batch_norm, True, _frozen_fwd, _frozen_bwd),
    "none": Norm(None, False, _none_fwd, _none_bwd),
}
