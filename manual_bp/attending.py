r"""What both forms of attention share: their arguments, and which keys a query may attend to.

Axes: B batch, T queries, S keys, H heads, K heads of the keys, G = H/K query heads to one of them, D head
dimension. Query t stands at position t + `query_offset`, key s at position s.
"""

from math import inf, sqrt
from numbers import Integral
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from manual_bp import checks
from manual_bp.sharding import laid_along
from manual_bp.soft_cap import check as check_soft_cap


def scale_of(q: Float[Array, "B T H D"], scale: float | None) -> float:
    """The factor of the products: 1/sqrt(D) unless it is given."""
    return 1 / sqrt(q.shape[-1]) if scale is None else float(scale)


def is_causal_within(
    queries: Integer[Array, "T"],
    keys: Integer[Array, "S"],
    *,
    causal: bool,
    window: int | None,
    query_offset: int,
) -> Bool[Array, "T S"]:
    """Whether a key is at the query's position or before it, if `causal`, and within its window.

    A query's number and its offset are not added: their sum may be beyond int32.
    """
    shape = (queries.shape[0], keys.shape[0])
    ahead = jnp.broadcast_to(keys[None], shape) - jnp.broadcast_to(queries[:, None], shape)
    near = jnp.ones(shape, bool)
    offset = int(query_offset)
    if causal:
        near &= ahead <= offset
    if window is not None:
        near &= ahead > max(offset - int(window), -(2**31))
    return near


def in_four_axes(x: Array) -> Array:
    """A bias or a mask with axes of length 1 in front."""
    return jnp.reshape(x, (1,) * (4 - x.ndim) + x.shape) if x.ndim < 4 else x


def laid_as_scores(x: Array | None, q: Float[Array, "B T H D"]) -> Array | None:
    """A bias or a mask that broadcasts to (B, H, T, S), in parts as the queries are on an explicit mesh."""
    return x if x is None else laid_along(x, q, (0, 2, None, None)[4 - x.ndim :])


def check(
    op: str,
    q: Array,
    k: Array,
    v: Array,
    bias: Array | None,
    mask: Array | None,
    segments: tuple[Array, Array] | None,
    *,
    causal: Any,
    window: Any,
    query_offset: Any,
    scale: Any,
    soft_cap: Any,
) -> None:
    """Raise unless the arguments fit each other and the options are what they must be."""
    checks.floating(op, q=q, k=k, v=v)
    if q.ndim != 4:
        raise ValueError(f"{op}: q has shape {q.shape}; expected four axes (batch, time, heads, head_dim)")
    if q.shape[-1] == 0:
        raise ValueError(f"{op}: q has shape {q.shape}; expected a head_dim of at least 1")
    if k.ndim != 4 or (k.shape[0], k.shape[3]) != (q.shape[0], q.shape[3]):
        wanted = f"({q.shape[0]}, keys, heads, {q.shape[3]}), as q has shape {q.shape}"
        raise ValueError(f"{op}: k has shape {k.shape}; expected {wanted}")
    heads, of_keys = q.shape[2], k.shape[2]
    if of_keys == 0 or heads % of_keys:
        raise ValueError(
            f"{op}: k has {of_keys} heads; expected a number that divides the {heads} heads of q"
        )
    checks.dtype(op, "k", k, q.dtype)
    checks.same_as(op, "v", v, "k", k)
    full = (q.shape[0], heads, q.shape[1], k.shape[1])
    if bias is not None:
        checks.floating(op, bias=bias)
        _broadcasts(op, "bias", bias, full)
        checks.no_wider(op, "q", q, "bias", bias)
    if mask is not None:
        checks.array(op, "booleans, True where it is allowed", mask=mask)
        checks.dtype(op, "mask", mask, jnp.bool_)
        _broadcasts(op, "mask", mask, full)
    if segments is not None:
        _check_segments(op, segments, q, k)
    checks.flag(op, "causal", causal)
    if window is not None:
        _integer(op, "window", window, lambda w: 1 <= w < 2**31, "None or an integer from 1 to 2^31 - 1")
    _integer(op, "query_offset", query_offset, lambda o: abs(o) < 2**31, "an integer between -2^31 and 2^31")
    if scale is not None:
        checks.number(op, "scale", scale, lambda s: abs(s) < inf, "None or a finite number")
    check_soft_cap(op, soft_cap)


def _integer(op: str, name: str, value: Any, holds: Any, expected: str) -> None:
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    checks.option(op, name, value, whole and holds(value), expected)


def _broadcasts(op: str, name: str, array: Array, full: tuple[int, ...]) -> None:
    pairs = zip(array.shape[::-1], full[::-1], strict=False)
    if array.ndim > len(full) or any(n not in (1, m) for n, m in pairs):
        raise ValueError(
            f"{op}: {name} has shape {array.shape}; expected one that broadcasts to {full}, "
            "(batch, heads, queries, keys)"
        )


def _check_segments(op: str, segments: Any, q: Array, k: Array) -> None:
    if not isinstance(segments, tuple | list) or len(segments) != 2:
        expected = "two arrays, of the queries (batch, queries) and of the keys (batch, keys)"
        raise TypeError(f"{op}: segments was a {type(segments).__name__}; expected {expected}")
    for name, ids, x in (("segments[0]", segments[0], q), ("segments[1]", segments[1], k)):
        checks.integers(op, **{name: ids})
        checks.shape(op, name, ids, x.shape[:2], ", (batch, time)")
