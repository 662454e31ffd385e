r"""Root-mean-square normalisation over the last axis.   Axes: B leading, I features.

    y_bi = w_i xhat_bi,    xhat_bi = x_bi r_b,    r_b = (mean_i x_bi^2 + eps)^(-1/2)     (1)

    dg_i  = sum_b p_bi,    p_bi = dy_bi xhat_bi                     (2)
    dx_bi = r_b (w_i dy_bi - xhat_bi mean_i(p_bi w_i))              (3)

The weight w is the gain g or, with `unit_offset`, 1 + g, so that gains of zero leave x as it is.

Saved: x, r.  Zhang & Sennrich 2019, arXiv:1910.07467.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Key

from manual_bp import checks
from manual_bp.precision import wide
from manual_bp.reductions import weighted_mean


class Params(NamedTuple):
    """Gains `g` (I,)."""

    g: Float[Array, "I"]


class Residuals(NamedTuple):
    """The input, and r of each row."""

    x: Float[Array, "*B I"]
    r: Float[Array, "*B"]


def init(
    key: Key[Array, ""], features: int, *, unit_offset: bool = False, dtype: DTypeLike = jnp.float32
) -> Params:
    """Gains that leave the normalised x as it is: 1, or 0 with `unit_offset`; nothing is drawn with `key`."""
    checks.counts("rms_norm.init", features=features)
    return Params(jnp.full(features, 0 if unit_offset else 1, dtype))


def fwd(
    params: Params, x: Float[Array, "*B I"], *, eps: float = 1e-6, unit_offset: bool = False
) -> tuple[Float[Array, "*B I"], Residuals]:
    """The output `y` (*B, I), and what the backward pass needs."""
    checks.normalized("rms_norm", params, Params, x, eps)
    checks.flag("rms_norm", "unit_offset", unit_offset)
    x_ = wide(x)
    r = jax.lax.rsqrt(jnp.mean(jnp.square(x_), -1) + float(eps))
    w = _weight(params, x_.dtype, unit_offset)
    y = x_ * r[..., None] * jnp.broadcast_to(w, x.shape)  # (1)
    return y.astype(x.dtype), Residuals(x, r)


def bwd(
    params: Params,
    res: Residuals,
    dy: Float[Array, "*B I"],
    *,
    eps: float = 1e-6,
    unit_offset: bool = False,
) -> tuple[Params, Float[Array, "*B I"]]:
    """The cotangents of the params and of `x`."""
    x, r = res
    checks.cotangent("rms_norm", "dy", dy, x)
    dy_ = wide(dy)
    xhat = wide(x) * r[..., None]
    p = dy_ * xhat
    dg = jnp.sum(p, range(x.ndim - 1))  # (2)
    w = _weight(params, dy_.dtype, unit_offset)
    u = jnp.broadcast_to(w, x.shape) * dy_
    dx = r[..., None] * (u - xhat * weighted_mean(p, w))  # (3)
    return Params(dg.astype(params.g.dtype)), dx.astype(x.dtype)


def _weight(params: Params, dtype: DTypeLike, unit_offset: bool) -> Float[Array, "I"]:
    """w."""
    g = params.g.astype(dtype)
    return 1 + g if unit_offset else g
