r"""Layer normalisation over the last axis.   Axes: B leading (any number of them), I features.

    m_b  = mean_i x_bi,    r_b = (mean_i (x_bi - m_b)^2 + eps)^(-1/2)           (1)
    y_bi = g_i n_bi + b_i,    n_bi = (x_bi - m_b) r_b                           (2)

    db_i  = sum_b dy_bi                                                         (3)
    dg_i  = sum_b p_bi,    p_bi = dy_bi n_bi                                    (4)
    dx_bi = r_b (g_i dy_bi - mean_i (dy_bi g_i) - n_bi mean_i (p_bi g_i))       (5)

A row of equal entries has n = 0 and r = eps^(-1/2). The params may be of a wider dtype than x, as float32
with bfloat16: everything is computed in at least float32, y and dx have the dtype of x, and dg and db that of
the params. As with every form that squares, a row whose x - m is beyond the square root of the largest number
(1e19 in float32) has r = 0.

Saved: x, and per row m, in two parts (`manual_bp.means`), and r.  Ba, Kiros & Hinton 2016, arXiv:1607.06450.
"""

from math import inf
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Key

from manual_bp import checks, means
from manual_bp.precision import wide
from manual_bp.reductions import weighted_mean


class Params(NamedTuple):
    """Gain `g` (I,) and bias `b` (I,), or `None` for a norm without one."""

    g: Float[Array, "I"]
    b: Float[Array, "I"] | None


class Residuals(NamedTuple):
    """The input, and for each row m and r, which have length 1 along the last axis."""

    x: Float[Array, "*B I"]
    mean: means.Mean
    scale: Float[Array, "*B 1"]


def init(key: Key[Array, ""], features: int, *, bias: bool = True, dtype: DTypeLike = jnp.float32) -> Params:
    """Gains of one and, with `bias`, zero biases; nothing is drawn with `key`, which every `init` takes."""
    checks.counts("layer_norm.init", features=features)
    return Params(jnp.ones(features, dtype), jnp.zeros(features, dtype) if bias else None)


def fwd(
    params: Params, x: Float[Array, "*B I"], *, eps: float = 1e-5
) -> tuple[Float[Array, "*B I"], Residuals]:
    """The output `y` (*B, I), and what the backward pass needs."""
    _check(params, x, eps)
    x_ = wide(x)
    m = means.mean(x_, -1)
    d = means.deviation(x_, m)
    r = jax.lax.rsqrt(jnp.mean(d * d, -1, keepdims=True) + float(eps))  # (1)
    y = _row(params.g, x_) * (d * r)
    if params.b is not None:
        y += _row(params.b, x_)  # (2)
    return y.astype(x.dtype), Residuals(x, m, r)


def bwd(
    params: Params, res: Residuals, dy: Float[Array, "*B I"], *, eps: float = 1e-5
) -> tuple[Params, Float[Array, "*B I"]]:
    """The cotangents of the params and of `x`."""
    x, m, r = res
    checks.cotangent("layer_norm", "dy", dy, x)
    g, b = params
    leading = tuple(range(x.ndim - 1))
    dy_ = wide(dy)
    n = means.deviation(wide(x), m) * r
    db = None if b is None else jnp.sum(dy_, leading).astype(b.dtype)  # (3)
    p = dy_ * n
    dg = jnp.sum(p, leading).astype(g.dtype)  # (4)
    dx = r * (_row(g, dy_) * dy_ - weighted_mean(dy_, g) - n * weighted_mean(p, g))  # (5)
    return Params(dg, db), dx.astype(x.dtype)


def _row(p: Float[Array, "I"], like: Float[Array, "*B I"]) -> Float[Array, "*B I"]:
    """A param for every row of `like`, in its dtype."""
    return jnp.broadcast_to(p.astype(like.dtype), like.shape)


def _check(params: Params, x: Array, eps: float) -> None:
    checks.params("layer_norm", params, Params)
    g, b = params
    checks.floating("layer_norm", x=x, **{"params.g": g})
    checks.features("layer_norm", x=x)
    checks.shape("layer_norm", "params.g", g, x.shape[-1:], f", as x has shape {x.shape}")
    checks.no_wider("layer_norm", "x", x, "params.g", g)
    if b is not None:
        checks.same_as("layer_norm", "params.b", b, "params.g", g)
    checks.number("layer_norm", "eps", eps, lambda e: 0 <= e < inf, "a number of at least 0")
