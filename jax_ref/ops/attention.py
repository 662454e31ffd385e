"""Attention of queries to keys, by head."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from jax_ref.precision import at_least_float32


def apply(
    q: Float[Array, "B T H D"],
    k: Float[Array, "B S K D"],
    v: Float[Array, "B S K D"],
    bias: Float[Array, "..."] | None = None,
    mask: Bool[Array, "..."] | None = None,
    segments: tuple[Integer[Array, "B T"], Integer[Array, "B S"]] | None = None,
    *,
    causal: bool = False,
    window: int | None = None,
    query_offset: int = 0,
    scale: float | None = None,
    soft_cap: float | None = None,
    block: int | tuple[int, int] | None = None,
) -> Float[Array, "B T H D"]:
    """The mean of the values, weighted by the softmax of the scores; 0 where nothing is allowed.

    `block` is how another program takes them apart, and changes nothing here.
    """
    (batch, queries, heads, width), keys = q.shape, k.shape[1]
    group = heads // k.shape[2]
    k, v = jnp.repeat(k, group, 2), jnp.repeat(v, group, 2)
    scores = at_least_float32(jnp.matmul(jnp.moveaxis(q, 1, 2), jnp.transpose(k, (0, 2, 3, 1))))
    scores = scores * (width**-0.5 if scale is None else scale)
    if soft_cap is not None:
        scores = soft_cap * jnp.tanh(scores / soft_cap)
    full = (batch, heads, queries, keys)
    if bias is not None:
        scores = scores + _spread(bias, full).astype(scores.dtype)
    behind = (query_offset + jnp.arange(queries))[:, None] - jnp.arange(keys)[None, :]
    allowed = jnp.ones((queries, keys), bool)
    if causal:
        allowed = behind >= 0
    if window is not None:
        allowed = jnp.logical_and(allowed, behind < window)
    allowed = _spread(allowed, full)
    if mask is not None:
        allowed = jnp.logical_and(allowed, _spread(mask, full))
    if segments is not None:
        same = jnp.expand_dims(segments[0], 2) == jnp.expand_dims(segments[1], 1)
        allowed = jnp.logical_and(allowed, _spread(jnp.expand_dims(same, 1), full))
    some = jnp.any(jnp.logical_and(allowed, scores != -jnp.inf), -1, keepdims=True)
    scores = jnp.where(allowed, scores, -jnp.inf)
    scores = jnp.where(some, scores, 0)  # a softmax of -inf alone is NaN
    weights = jnp.exp(scores - jnp.max(scores, -1, keepdims=True, initial=-jnp.inf))
    weights = weights / jnp.sum(weights, -1, keepdims=True)
    weights = jnp.where(jnp.logical_and(allowed, some), weights, 0)
    return jnp.moveaxis(jnp.matmul(weights.astype(q.dtype), jnp.moveaxis(v, 1, 2)), 1, 2)


def _spread(x: Array, shape: tuple[int, ...]) -> Array:
    return jnp.broadcast_to(jnp.reshape(x, (1,) * (4 - x.ndim) + x.shape), shape)
