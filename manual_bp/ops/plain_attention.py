r"""Attention in O(T S) memory, for reading; `attention` is the one to use.

Axes: B batch, T queries, S keys, H heads, D head dimension; query head h has the key head h // (H/K) of the
K there are. Static options: c = `scale`, C = `soft_cap`.

    s_ts = c sum_d q_td k_sd                                        (1)
    u_ts = C tanh(s_ts / C),    or s_ts without a soft cap          (2)
    a_ts = u_ts + bias_ts,    -inf where t may not attend to s      (3)
    p_ts = e^(a_ts - m_t) / l_t,    m_t = max_s a_ts,    l_t = sum_s e^(a_ts - m_t)     (4)
    o_td = sum_s p_ts v_sd                                          (5)

    dv_sd = sum_t p_ts do_td                                        (6)
    dp_ts = sum_d do_td v_sd                                        (7)
    e_ts  = dp_ts - sum_r p_tr dp_tr
    da_ts = p_ts (e_ts - sum_r p_tr e_tr),    and dbias = da        (8)
    ds_ts = da_ts (1 - (u_ts / C)^2)                                (9)
    dq_td = c sum_s ds_ts k_sd                                      (10)
    dk_sd = c sum_t ds_ts q_td                                      (11)

The second sum of (8) is zero but for rounding, which it takes away where one p is nearly 1.

A key head gets the sum over its query heads, and a bias that was broadcast the sum over what it was broadcast
to. A query that may attend to nothing has o = 0 and no gradient.

Saved: the inputs, p, and with a soft cap the factor of (9).  Vaswani et al. 2017, arXiv:1706.03762; Ainslie
et al. 2023, arXiv:2305.13245 (grouped heads).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from manual_bp import attending, checks
from manual_bp.precision import accumulator, times, wide
from manual_bp.sharding import laid_together, merge_axes, split_axis
from manual_bp.soft_cap import capped

Segments = tuple[Integer[Array, "B T"], Integer[Array, "B S"]]


class Residuals(NamedTuple):
    """The inputs that have a gradient, du/ds with a soft cap, and the probabilities."""

    q: Float[Array, "B T H D"]
    k: Float[Array, "B S K D"]
    v: Float[Array, "B S K D"]
    bias: Float[Array, "..."] | None
    slope: Float[Array, "B H T S"] | None
    p: Float[Array, "B H T S"]


def fwd(
    q: Float[Array, "B T H D"],
    k: Float[Array, "B S K D"],
    v: Float[Array, "B S K D"],
    bias: Float[Array, "..."] | None = None,
    mask: Bool[Array, "..."] | None = None,
    segments: Segments | None = None,
    *,
    causal: bool = False,
    window: int | None = None,
    query_offset: int = 0,
    scale: float | None = None,
    soft_cap: float | None = None,
) -> tuple[Float[Array, "B T H D"], Residuals]:
    """The output (B, T, H, D), with arguments and options as `attention` has them."""
    options = {"causal": causal, "window": window, "query_offset": query_offset}
    attending.check(
        "plain_attention", q, k, v, bias, mask, segments, scale=scale, soft_cap=soft_cap, **options
    )
    q, k, v = laid_together(q, k, v)
    bias, mask = (attending.laid_as_scores(y, q) for y in (bias, mask))
    c = attending.scale_of(q, scale)
    s = c * _by_head("bthd,bshd->bhts", q, _for_queries(k, q))  # (1)
    u, slope = capped(s, soft_cap)  # (2)
    a = u if bias is None else u + _broadcast(bias, u).astype(u.dtype)
    allowed = _allowed(q, k, mask, segments, **options)
    a = jnp.where(allowed, a, -jnp.inf)  # (3)
    m = jnp.max(a, -1, keepdims=True, initial=-jnp.inf)
    e = jnp.exp(a - jnp.where(m == -jnp.inf, 0, m))
    total = jnp.sum(e, -1, keepdims=True)
    p = jnp.where(allowed, e / jnp.where(total == 0, 1, total), 0)  # (4)
    o = _by_head("bhts,bshd->bthd", p.astype(q.dtype), _for_queries(v, q))  # (5)
    return o.astype(q.dtype), Residuals(q, k, v, bias, slope, p)


def bwd(
    res: Residuals,
    do: Float[Array, "B T H D"],
    *,
    causal: bool = False,
    window: int | None = None,
    query_offset: int = 0,
    scale: float | None = None,
    soft_cap: float | None = None,
) -> tuple[Array, ...]:
    """The cotangents of `q`, `k`, `v` and, where it was given, of `bias`."""
    q, k, v, bias, slope, p = res
    checks.cotangent("plain_attention", "do", do, q)
    c = attending.scale_of(q, scale)
    dv = _by_head("bhts,bthd->bshd", p.astype(do.dtype), do)  # (6)
    dp = _by_head("bthd,bshd->bhts", do, _for_queries(v, q))  # (7)
    e = dp - jnp.sum(times(p, dp), -1, keepdims=True)
    da = times(p, e - jnp.sum(times(p, e), -1, keepdims=True))  # (8)
    ds = da if slope is None else times(da, slope)  # (9)
    ds = ds.astype(q.dtype)
    dq = c * _by_head("bhts,bshd->bthd", ds, _for_queries(k, q))  # (10)
    dk = c * _by_head("bhts,bthd->bshd", ds, q)  # (11)
    cotangents = (dq.astype(q.dtype), _for_keys(dk, k).astype(k.dtype), _for_keys(dv, v).astype(v.dtype))
    return cotangents if bias is None else (*cotangents, _unbroadcast(da, bias).astype(bias.dtype))


def _by_head(products: str, x: Array, y: Array) -> Array:
    return jnp.einsum(products, x, y, preferred_element_type=accumulator(x.dtype))


def _for_queries(k: Float[Array, "B S K D"], q: Float[Array, "B T H D"]) -> Float[Array, "B S H D"]:
    """Keys or values for each query head."""
    batch, keys, heads, width = k.shape
    group = q.shape[2] // heads
    return merge_axes(jnp.broadcast_to(k[:, :, :, None], (batch, keys, heads, group, width)), 2)


def _for_keys(dk: Float[Array, "B S H D"], k: Float[Array, "B S K D"]) -> Float[Array, "B S K D"]:
    """The sum over the query heads of a key head."""
    return jnp.sum(split_axis(dk, 2, k.shape[2]), 3)


def _broadcast(x: Array, u: Float[Array, "B H T S"]) -> Array:
    return jnp.broadcast_to(attending.in_four_axes(x), u.shape)


def _unbroadcast(da: Float[Array, "B H T S"], bias: Float[Array, "..."]) -> Float[Array, "..."]:
    shape = attending.in_four_axes(bias).shape
    axes = tuple(axis for axis, n in enumerate(shape) if n == 1)
    return jnp.reshape(jnp.sum(wide(da), axes, keepdims=True), bias.shape)


def _allowed(
    q: Float[Array, "B T H D"],
    k: Float[Array, "B S K D"],
    mask: Bool[Array, "..."] | None,
    segments: Segments | None,
    *,
    causal: bool,
    window: int | None,
    query_offset: int,
) -> Bool[Array, "B H T S"]:
    """Which keys each query may attend to."""
    shape = (q.shape[0], q.shape[2], q.shape[1], k.shape[1])
    queries, keys = (jnp.arange(n, dtype=jnp.int32) for n in (q.shape[1], k.shape[1]))
    near = attending.is_causal_within(queries, keys, causal=causal, window=window, query_offset=query_offset)
    allowed = jnp.broadcast_to(near, shape)
    if mask is not None:
        allowed &= jnp.broadcast_to(attending.in_four_axes(mask), shape)
    if segments is not None:
        of_queries, of_keys = segments
        allowed &= jnp.broadcast_to((of_queries[:, :, None] == of_keys[:, None])[:, None], shape)
    return allowed
