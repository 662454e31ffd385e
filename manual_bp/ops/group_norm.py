r"""Group normalisation: of each example over its spatial axes and a group of channels.   Axes: B batch, S
spatial (any number of axes, none included), C channels; G groups of C/G neighbouring channels.

    y_bsc = g_c xhat_bsc + b_c,    xhat_bsc = (x_bsc - m_bG) r_bG,    r_bG = (v_bG + eps)^(-1/2)      (1)

with m and v the mean and the biased variance of the group G of c, over S and the group's channels:

    db_c   = sum_b e_bc,    e_bc = sum_s dy_bsc                     (2)
    dg_c   = sum_b p_bc,    p_bc = sum_s dy_bsc xhat_bsc            (3)
    dx_bsc = r_bG (g_c dy_bsc - mean_G(g dy) - xhat_bsc mean_G(g dy xhat))        (4)

where the means over the group are those of g_c e_bc and g_c p_bc over its channels, divided by the number of
places. One group is layer normalisation over space and channels, a group for each channel is instance
normalisation.

Saved: x, m in two parts (`manual_bp.means`), r.  Wu & He 2018, arXiv:1803.08494.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Key

from manual_bp import checks, means
from manual_bp.precision import wide
from manual_bp.sharding import reshaped


class Params(NamedTuple):
    """Gains `g` (C,) and biases `b` (C,), or `None` for a normalisation without them."""

    g: Float[Array, "C"]
    b: Float[Array, "C"] | None


class Residuals(NamedTuple):
    """The input, and of each example and group the mean and r."""

    x: Float[Array, "B *S C"]
    mean: means.Mean
    r: Float[Array, "B 1 G 1"]


def init(key: Key[Array, ""], features: int, *, bias: bool = True, dtype: DTypeLike = jnp.float32) -> Params:
    """Gains of one and, with `bias`, zero biases; nothing is drawn with `key`, which every `init` takes."""
    checks.counts("group_norm.init", features=features)
    return Params(jnp.ones(features, dtype), jnp.zeros(features, dtype) if bias else None)


def fwd(
    params: Params, x: Float[Array, "B *S C"], *, groups: int, eps: float = 1e-5
) -> tuple[Float[Array, "B *S C"], Residuals]:
    """The output `y` (B, *S, C), and what the backward pass needs."""
    checks.normalized("group_norm", params, Params, x, eps)
    if x.ndim < 2:
        raise ValueError(f"group_norm: x has shape {x.shape}; expected a batch axis and channels")
    divides = checks.is_count(groups) and x.shape[-1] % groups == 0
    checks.option("group_norm", "groups", groups, divides, f"a divisor of the {x.shape[-1]} channels")
    z = _grouped(wide(x), groups)
    m = means.mean(z, 1, 3)
    deviation = means.deviation(z, m)
    r = jax.lax.rsqrt(means.plain_mean(jnp.square(deviation), 1, 3) + float(eps))
    y = deviation * r * _spread(params.g, z)  # (1)
    if params.b is not None:
        y += _spread(params.b, z)
    return reshaped(y, x.shape).astype(x.dtype), Residuals(x, m, r)


def bwd(
    params: Params, res: Residuals, dy: Float[Array, "B *S C"], *, groups: int, eps: float = 1e-5
) -> tuple[Params, Float[Array, "B *S C"]]:
    """The cotangents of the params and of `x`."""
    (x, m, r), (g, b) = res, params
    checks.cotangent("group_norm", "dy", dy, x)
    dy_ = _grouped(wide(dy), groups)
    xhat = means.deviation(_grouped(wide(x), groups), m) * r
    e, p = jnp.sum(dy_, 1), jnp.sum(dy_ * xhat, 1)
    db = None if b is None else jnp.sum(e, 0).reshape(b.shape).astype(b.dtype)  # (2)
    dg = jnp.sum(p, 0).reshape(g.shape).astype(g.dtype)  # (3)
    of_dy, of_p = (_back(jnp.mean(_spread(g, s) * s, 2) / dy_.shape[1]) for s in (e, p))
    dx = r * (_spread(g, dy_) * dy_ - of_dy - xhat * of_p)  # (4)
    return Params(dg, db), reshaped(dx, x.shape).astype(x.dtype)


def _grouped(x: Array, groups: int) -> Array:
    """(B, S, G, C/G) of (B, *S, C)."""
    shape = (x.shape[0], math.prod(x.shape[1:-1]), groups, x.shape[-1] // groups)
    return reshaped(x, shape)


def _spread(p: Array, like: Array) -> Array:
    """A param (C,) for every place of `like` (..., G, C/G), in its dtype."""
    own = p.astype(like.dtype).reshape(like.shape[-2:])
    return jnp.broadcast_to(own, like.shape)


def _back(statistic: Array) -> Array:
    """(B, 1, G, 1) of (B, G)."""
    return statistic[:, None, :, None]
