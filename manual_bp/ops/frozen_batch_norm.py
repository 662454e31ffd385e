r"""Batch normalisation by statistics that are given, for evaluation.   Axes: B all axes but the last, C
channels.

    y_bc = g_c (x_bc - m_c) r_c + b_c,    r_c = (v_c + eps)^(-1/2)  (1)

    db_c  = sum_b dy_bc                                             (2)
    dg_c  = sum_b dy_bc (x_bc - m_c) r_c                            (3)
    dx_bc = g_c r_c dy_bc                                           (4)
    dm_c  = -g_c r_c db_c                                           (5)
    dv_c  = -g_c dg_c r_c^2 / 2                                     (6)

Saved: x, m, v.  Ioffe & Szegedy 2015, arXiv:1502.03167, section 3.1.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manual_bp import checks
from manual_bp.ops.batch_norm import Params, Statistics, init
from manual_bp.precision import wide

__all__ = ["Params", "Residuals", "Statistics", "bwd", "fwd", "init"]


class Residuals(NamedTuple):
    """The input and the statistics."""

    x: Float[Array, "*B C"]
    statistics: Statistics


def fwd(
    params: Params, x: Float[Array, "*B C"], statistics: Statistics, *, eps: float = 1e-5
) -> tuple[Float[Array, "*B C"], Residuals]:
    """The output `y` (*B, C), and what the backward pass needs."""
    checks.normalized("frozen_batch_norm", params, Params, x, eps)
    checks.params("frozen_batch_norm", statistics, Statistics, "statistics")
    for name, value in statistics._asdict().items():
        checks.floating("frozen_batch_norm", **{f"statistics.{name}": value})
        checks.shape("frozen_batch_norm", f"statistics.{name}", value, x.shape[-1:], ", one for each channel")
    deviation, r = _parts(x, statistics, eps)
    g, b = params
    y = deviation * jnp.broadcast_to(r, x.shape) * jnp.broadcast_to(g.astype(r.dtype), x.shape)  # (1)
    if b is not None:
        y += jnp.broadcast_to(b.astype(r.dtype), x.shape)
    return y.astype(x.dtype), Residuals(x, statistics)


def bwd(
    params: Params, res: Residuals, dy: Float[Array, "*B C"], *, eps: float = 1e-5
) -> tuple[Params, Float[Array, "*B C"], Statistics]:
    """The cotangents of the params, of `x` and of the statistics."""
    (x, statistics), (g, b) = res, params
    checks.cotangent("frozen_batch_norm", "dy", dy, x)
    deviation, r = _parts(x, statistics, eps)
    dy_, batch = wide(dy), tuple(range(x.ndim - 1))
    gain = g.astype(r.dtype)
    db = jnp.sum(dy_, batch)  # (2)
    dg = jnp.sum(dy_ * deviation, batch) * r  # (3)
    dx = jnp.broadcast_to(gain, x.shape) * (jnp.broadcast_to(r, x.shape) * dy_)  # (4)
    dm = -gain * (r * db)  # (5)
    dv = -gain * (r * r * dg / 2)  # (6)
    d_statistics = Statistics(dm.astype(statistics.mean.dtype), dv.astype(statistics.var.dtype))
    d_params = Params(dg.astype(g.dtype), None if b is None else db.astype(b.dtype))
    return d_params, dx.astype(x.dtype), d_statistics


def _parts(x: Array, statistics: Statistics, eps: float) -> tuple[Array, Array]:
    """x - m and r."""
    x_ = wide(x)
    m, v = (s.astype(x_.dtype) for s in statistics)
    return x_ - jnp.broadcast_to(m, x.shape), jax.lax.rsqrt(v + float(eps))
