r"""Batch normalisation by the statistics of all devices' entries.   Axes: s the devices along a mesh axis, n
of them; b the entries of one of them, every axis but the last, K on each and N = n K in all; c channels.

    m^s_c  = mean_b x^s_bc,    v^s_c = mean_b (x^s_bc - m^s_c)^2    (1)
    m_c    = mean_s m^s_c,     v_c = mean_s (v^s_c + (m^s_c - m_c)^2)       (2)
    y^s_bc = g_c xhat^s_bc + b_c,    xhat^s_bc = (x^s_bc - m_c) r_c,    r_c = (v_c + eps)^(-1/2)    (3)

    db^s_c  = sum_b dy^s_bc,    dg^s_c = sum_b dy^s_bc xhat^s_bc    (4)
    db_c    = sum_s db^s_c,     dg_c = sum_s dg^s_c                 (5)
    dx^s_bc = g_c r_c (dy^s_bc - db_c / N - xhat^s_bc dg_c / N)     (6)
            + dm_c / N + 2 dv_c (x^s_bc - m_c) / N                  (7)

An entry has a share in the statistics of all, and so dx^s wants the sums of all: there is one message each
way, which gathers (1) and sums (5). m and v, and their cotangents, are the same on all devices. g and b are
copies, as of every device that computes with replicated params, and what comes for them are the shares (4),
which `data.all_reduce` sums with those of the other params. Where no device has more than a few examples, a
shard's own statistics are too rough to train by.

With `axis=None` it is `manual_bp.ops.batch_norm`. Saved: as there.

Ioffe & Szegedy 2015, arXiv:1502.03167; (2) is that of Chan, Golub & LeVeque 1983.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from manual_bp import checks, means
from manual_bp.ops import batch_norm
from manual_bp.ops.batch_norm import Params, Residuals, Statistics, Sums, init
from manual_bp.parallel import axes, collectives
from manual_bp.parallel.axes import Axis
from manual_bp.precision import wide

__all__ = ["Params", "Residuals", "Statistics", "bwd", "fwd", "init"]

OP = "parallel.batch_norm"


def fwd(
    params: Params, x: Float[Array, "*B C"], *, axis: Axis, eps: float = 1e-5
) -> tuple[tuple[Float[Array, "*B C"], Statistics], Residuals]:
    """The output `y` (*B, C) of what is on this device, with the statistics of all devices' entries.

    `x` has as many entries on each device.
    """
    axes.check(OP, axis)
    checks.normalized(OP, params, Params, x, eps)
    m, v = _of_all(*batch_norm.statistics(x), axis)
    r = lax.rsqrt(v + float(eps))
    return (batch_norm.output(params, x, m, r), Statistics(m.rounded.reshape(v.shape), v)), Residuals(x, m, r)


def bwd(
    params: Params,
    res: Residuals,
    d_output: tuple[Float[Array, "*B C"], Statistics],
    *,
    axis: Axis,
    eps: float = 1e-5,
) -> tuple[Params, Float[Array, "*B C"]]:
    """The shares of the cotangents of the params, and the cotangent of this device's `x`."""
    d_output = batch_norm.check_cotangents(OP, res, d_output)
    deviation = means.deviation(wide(res.x), res.mean)
    shares = axes.vary(batch_norm.d_sums(deviation, res.r, d_output[0]), axis)  # (4)
    sums = Sums(*collectives.all_reduce.fwd(jnp.stack(shares), axis=axis)[0])  # (5)
    count = axes.size(axis) * (res.x.size // res.x.shape[-1])
    dx = batch_norm.d_input(params, res, d_output, deviation, sums, count)  # (6), (7)
    return batch_norm.d_params(params, shares), dx


def _of_all(m: means.Mean, v: Float[Array, "C"], axis: Axis) -> tuple[means.Mean, Float[Array, "C"]]:
    """The statistics of all devices' entries from those of each: (2)."""
    if not axes.names(axis):
        return m, v
    own = axes.vary(jnp.stack([*m, v.reshape(m.rest.shape)]), axis)
    rounded, rest, v_s = jnp.moveaxis(lax.all_gather(own, axes.names(axis), to="invarying"), 1, 0)
    m_all = means.mean(rounded, 0)
    m_all = m_all._replace(rest=m_all.rest + jnp.mean(rest, 0, keepdims=True))
    between = jnp.square(means.deviation(rounded, m_all) + rest)
    return means.Mean(*(part[0] for part in m_all)), jnp.mean(v_s + between, 0).reshape(v.shape)
