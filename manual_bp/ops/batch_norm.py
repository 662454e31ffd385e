r"""Batch normalisation over every axis but the last, by the batch's own statistics.   Axes: B all axes but
the last, with N entries; C channels.

    m_c  = mean_b x_bc,    v_c = mean_b (x_bc - m_c)^2              (1)
    y_bc = g_c xhat_bc + b_c,    xhat_bc = (x_bc - m_c) r_c,    r_c = (v_c + eps)^(-1/2)   (2)

    db_c  = sum_b dy_bc                                             (3)
    dg_c  = sum_b dy_bc xhat_bc                                     (4)
    dx_bc = g_c r_c (dy_bc - db_c / N - xhat_bc dg_c / N)           (5)
          + dm_c / N + 2 dv_c (x_bc - m_c) / N                      (6)

The statistics m and v (biased: over N) are outputs too, and (6) is what their cotangents dm and dv add; a
model keeps a running mean of them, by `running`, and evaluates with it, by `frozen_batch_norm`. In
`shard_map` they are those of a shard; `manual_bp.parallel.batch_norm` takes those of all.

Saved: x, m in two parts (`manual_bp.means`), r.  Ioffe & Szegedy 2015, arXiv:1502.03167.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Key

from manual_bp import checks, means
from manual_bp.precision import wide


class Params(NamedTuple):
    """Gains `g` (C,) and biases `b` (C,), or `None` for a normalisation without them."""

    g: Float[Array, "C"]
    b: Float[Array, "C"] | None


class Statistics(NamedTuple):
    """Mean and biased variance of each channel (C,), in at least float32."""

    mean: Float[Array, "C"]
    var: Float[Array, "C"]


class Residuals(NamedTuple):
    """The input, its mean and r."""

    x: Float[Array, "*B C"]
    mean: means.Mean
    r: Float[Array, "C"]


def init(key: Key[Array, ""], features: int, *, bias: bool = True, dtype: DTypeLike = jnp.float32) -> Params:
    """Gains of one and, with `bias`, zero biases; nothing is drawn with `key`, which every `init` takes."""
    checks.counts("batch_norm.init", features=features)
    return Params(jnp.ones(features, dtype), jnp.zeros(features, dtype) if bias else None)


def fwd(
    params: Params, x: Float[Array, "*B C"], *, eps: float = 1e-5
) -> tuple[tuple[Float[Array, "*B C"], Statistics], Residuals]:
    """The output `y` (*B, C) with the statistics of the batch, and what the backward pass needs."""
    checks.normalized("batch_norm", params, Params, x, eps)
    m, v = statistics(x)
    r = jax.lax.rsqrt(v + float(eps))
    return (output(params, x, m, r), Statistics(m.rounded.reshape(v.shape), v)), Residuals(x, m, r)


def bwd(
    params: Params,
    res: Residuals,
    d_output: tuple[Float[Array, "*B C"], Statistics],
    *,
    eps: float = 1e-5,
) -> tuple[Params, Float[Array, "*B C"]]:
    """The cotangents of the params and of `x`, from those of the output and of the statistics."""
    d_output = check_cotangents("batch_norm", res, d_output)
    deviation = means.deviation(wide(res.x), res.mean)
    sums = d_sums(deviation, res.r, d_output[0])
    count = res.x.size // res.x.shape[-1]
    return d_params(params, sums), d_input(params, res, d_output, deviation, sums, count)


def statistics(x: Float[Array, "*B C"]) -> tuple[means.Mean, Float[Array, "C"]]:
    """m in two parts, and v."""
    x_, batch = wide(x), tuple(range(x.ndim - 1))
    m = means.mean(x_, batch)
    return m, jnp.mean(jnp.square(means.deviation(x_, m)), batch)  # (1)


def output(
    params: Params, x: Float[Array, "*B C"], m: means.Mean, r: Float[Array, "C"]
) -> Float[Array, "*B C"]:
    """y of the statistics m and r."""
    g, b = params
    deviation = means.deviation(wide(x), m)
    y = deviation * jnp.broadcast_to(r, x.shape) * jnp.broadcast_to(g.astype(r.dtype), x.shape)  # (2)
    if b is not None:
        y += jnp.broadcast_to(b.astype(r.dtype), x.shape)
    return y.astype(x.dtype)


class Sums(NamedTuple):
    """dg and db (C,), in at least float32."""

    g: Float[Array, "C"]
    b: Float[Array, "C"]


def d_sums(deviation: Float[Array, "*B C"], r: Float[Array, "C"], dy: Float[Array, "*B C"]) -> Sums:
    """dg and db of what is here."""
    dy_, batch = wide(dy), tuple(range(dy.ndim - 1))
    db = jnp.sum(dy_, batch)  # (3)
    dg = jnp.sum(dy_ * deviation, batch) * r  # (4)
    return Sums(dg, db)


def d_params(params: Params, sums: Sums) -> Params:
    """The cotangents of the params, as these are."""
    g, b = params
    return Params(sums.g.astype(g.dtype), None if b is None else sums.b.astype(b.dtype))


def d_input(
    params: Params,
    res: Residuals,
    d_output: tuple[Float[Array, "*B C"], Statistics],
    deviation: Float[Array, "*B C"],
    sums: Sums,
    count: int,
) -> Float[Array, "*B C"]:
    """dx, where `sums` are over all N = `count` entries."""
    (dy, (dm, dv)), (x, _, r), (dg, db) = d_output, res, sums
    centred = jnp.broadcast_to(r, x.shape) * (
        wide(dy)
        - jnp.broadcast_to(db / count, x.shape)
        - deviation * jnp.broadcast_to(r * dg / count, x.shape)
    )
    dx = jnp.broadcast_to(params.g.astype(r.dtype), x.shape) * centred  # (5)
    dx += jnp.broadcast_to(dm / count, x.shape)
    dx += jnp.broadcast_to(2 * dv / count, x.shape) * deviation  # (6)
    return dx.astype(x.dtype)


def check_cotangents(op: str, res: Residuals, d_output: Any) -> tuple[Float[Array, "*B C"], Statistics]:
    """The cotangents; raise unless they are like the outputs of `op`."""
    dy, d_statistics = checks.together(op, "d_output", d_output, "dy", "d_statistics")
    dm, dv = checks.together(op, "d_statistics", d_statistics, *Statistics._fields)
    checks.cotangent(op, "dy", dy, res.x)
    checks.cotangent(op, "d_statistics.mean", dm, res.r)
    checks.cotangent(op, "d_statistics.var", dv, res.r)
    return dy, Statistics(dm, dv)


def running(old: Statistics, new: Statistics, *, momentum: float = 0.9) -> Statistics:
    """The running statistics after one more batch: `momentum` times the old ones, the rest of the new.

    As Flax has it; PyTorch's `momentum` is the weight of the new ones (1 - this one), and it takes the
    unbiased variance, N / (N - 1) times the new one.
    """
    op = "batch_norm.running"
    checks.number(op, "momentum", momentum, lambda m: 0 <= m <= 1, "a number in 0..1")
    for name, statistics in {"old": old, "new": new}.items():
        checks.params(op, statistics, Statistics, name)
    for field in Statistics._fields:
        before, found = getattr(old, field), getattr(new, field)
        checks.floating(op, **{f"old.{field}": before, f"new.{field}": found})
        checks.same_as(op, f"new.{field}", found, f"old.{field}", before)
    weight = float(momentum)
    return jax.tree.map(lambda a, b: weight * a + (1 - weight) * b, old, new)
