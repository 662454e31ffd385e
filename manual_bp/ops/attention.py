r"""Attention, tile by tile: no array of T S scores is made.   Axes: B batch, T queries, S keys, H heads, K
heads of the keys, G = H/K query heads to one of them, D head dimension.

As `plain_attention` has it, with c = `scale`, C = `soft_cap`, and query head h at the key head h // G:

    a_ts = C tanh(c q_t . k_s / C) + bias_ts,    -inf where t may not attend to s       (1)
    o_t  = sum_s e^(a_ts - m_t) v_s / l_t,    m_t = max_s a_ts,    l_t = sum_s e^(a_ts - m_t)   (2)

Forward, a tile of queries and keys at a time: of each tile by (2) with the sum over its keys, and of all so
far, m, l and n = l o. Those of one more, with a dash, are put to them by

    m'' = max(m, m'),    f = e^(m - m''),    f' = e^(m' - m'')      (3)
    n'' = f n + f' n',    l'' = f l + f' l'                         (4)

Backward, with the tile's scores made again:

    p_ts  = e^(a_ts - m_t) / l_t                                    (5)
    dv_s += sum_t p_ts do_t                                         (6)
    da_ts = p_ts (do_t . v_s - do_t . o_t),    dbias += da          (7)
    ds_ts = c da_ts (1 - tanh^2)                                    (8)
    dq_t += sum_s ds_ts k_s,    dk_s += sum_t ds_ts q_t             (9)

as sum_r p_tr do_t . v_r = do_t . o_t in (7). Where one tile has all keys, that sum is taken itself: of a
query with one p of nearly 1 the difference keeps digits that do . o, rounded in another order, has lost. Only
tiles that some query may attend to are visited; they compare positions if the diagonal, an end of the window
or of the keys cuts one of them, or there is a mask or segments. A query that may attend to nothing has o = 0
and no gradient.

Saved: the inputs, o, and of each query m and l: of a logsumexp m + log l the digits of l would be lost beside
a large m.  Milakov & Gimelshein 2018, arXiv:1805.02867 (3, 4); Rabe & Staats 2021, arXiv:2112.05682; Dao et
al. 2022, arXiv:2205.14135 (7).
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from manual_bp import attending, checks
from manual_bp.precision import accumulator, wide
from manual_bp.sharding import by_rows, laid_together, merge_axes, split_axis, varying_as
from manual_bp.soft_cap import capped
from manual_bp.tiles import Tiles, size, tiles

Segments = tuple[Integer[Array, "B T"], Integer[Array, "B S"]]


class Inputs(NamedTuple):
    """The arguments of `fwd`."""

    q: Float[Array, "B T H D"]
    k: Float[Array, "B S K D"]
    v: Float[Array, "B S K D"]
    bias: Float[Array, "..."] | None
    mask: Bool[Array, "..."] | None
    segments: Segments | None


class Residuals(NamedTuple):
    """The inputs, the output, and for each query m and l."""

    inputs: Inputs
    o: Float[Array, "B T H D"]
    maximum: Float[Array, "B H T"]
    total: Float[Array, "B H T"]


class OfQueries(NamedTuple):
    """What the backward has of each query beside the inputs; `weight` is do . o, or None where a tile has all
    keys.
    """

    do: Float[Array, "B T H D"]
    maximum: Float[Array, "B H T"]
    total: Float[Array, "B H T"]
    weight: Float[Array, "B H T"] | None


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
    block: int | tuple[int, int] | None = None,
) -> tuple[Float[Array, "B T H D"], Residuals]:
    """The output (B, T, H, D), of q (B, T, H, D) and of k and v (B, S, K, D), where K divides H.

    `bias`, which has a gradient, and `mask` (True where it is allowed) broadcast to (B, H, T, S). `segments`
    are integers (B, T) and (B, S): a query attends to keys of its own. With `causal` query t attends to the
    keys up to t + `query_offset` (0 as `jax.nn` has it; S - T lets the newest query see all keys, as with a
    cache); a `window` of w allows the newest w keys up to there, and without `causal` whatever comes after.
    Scores are scaled by `scale`, None for 1/sqrt(D), then capped, then the bias is added. `block` are the
    queries and keys of a tile, None a choice by the heads of the batch.
    """
    positions = {"causal": causal, "window": window, "query_offset": query_offset}
    caps = {"scale": scale, "soft_cap": soft_cap}
    attending.check("attention", q, k, v, bias, mask, segments, **caps, **positions)
    q, k, v = laid_together(q, k, v)
    segments = segments and (by_rows(segments[0], q), by_rows(segments[1], q))
    bias, mask = (attending.laid_as_scores(y, q) for y in (bias, mask))
    x = Inputs(q, k, v, bias, mask, segments)
    tiling, padded, score = _in_tiles(x, block, scale, soft_cap, positions)

    def of_tile(i: Any, j: Any) -> tuple[Array, ...]:
        a, _ = score(i, j)
        m = jnp.max(a, -1, keepdims=True)
        e = jnp.exp(a - _finite(m))
        n = _product("bkgts,bksd->bkgtd", e.astype(q.dtype), _keys(padded.v, j, tiling))
        return _by_time(n), _by_head(m), _by_head(jnp.sum(e, -1, keepdims=True))  # (2)

    def put(state: tuple[Array, ...], new: tuple[Array, ...], i: Any, j: Any) -> tuple[Array, ...]:
        (n, *rows), (n_new, m_new, total_new) = state, new
        n_old = _part(n, i, tiling.queries, 1)
        m_old, total_old = (_part(y, i, tiling.queries, 2) for y in rows)
        m = jnp.maximum(m_old, m_new)
        f, f_new = (jnp.exp(y - _finite(m)) for y in (m_old, m_new))  # (3)
        parts = _of_heads(f) * n_old + _of_heads(f_new) * n_new, m, f * total_old + f_new * total_new  # (4)
        return tuple(
            _put(y, part, i, tiling.queries, axis)
            for y, part, axis in zip(state, parts, (1, 2, 2), strict=True)
        )

    n = jnp.zeros_like(padded.q, accumulator(q.dtype))
    of_query = jnp.swapaxes(n[..., 0], 1, 2)
    state = varying_as((n, jnp.full_like(of_query, -jnp.inf), of_query), x)
    n, m, total = _over_tiles(of_tile, put, state, tiling)
    total = jnp.where(total == 0, 1, total)
    o = n / _of_heads(total)
    o, m, total = o[:, : q.shape[1]].astype(q.dtype), _finite(m)[..., : q.shape[1]], total[..., : q.shape[1]]
    return o, Residuals(x, o, m, total)


def bwd(
    res: Residuals,
    do: Float[Array, "B T H D"],
    *,
    causal: bool = False,
    window: int | None = None,
    query_offset: int = 0,
    scale: float | None = None,
    soft_cap: float | None = None,
    block: int | tuple[int, int] | None = None,
) -> tuple[Array, ...]:
    """The cotangents of `q`, `k`, `v` and, where it was given, of `bias`."""
    x, o, m, total = res
    checks.cotangent("attention", "do", do, x.q)
    positions: dict[str, Any] = {"causal": causal, "window": window, "query_offset": query_offset}
    weight = None
    if _tiling(x, block, **positions).keys < x.k.shape[1]:
        weight = of_output(do, o)
    of_queries = OfQueries(do, m, total, weight)
    return cotangents(x, of_queries, scale=scale, soft_cap=soft_cap, block=block, **positions)


def of_output(do: Float[Array, "B T H D"], o: Float[Array, "B T H D"]) -> Float[Array, "B H T"]:
    """do . o of each query and head, in at least float32."""
    return jnp.swapaxes(jnp.sum(wide(do) * wide(o), -1), 1, 2)


def cotangents(
    x: Inputs,
    of_queries: OfQueries,
    *,
    causal: bool = False,
    window: int | None = None,
    query_offset: int = 0,
    scale: float | None = None,
    soft_cap: float | None = None,
    block: int | tuple[int, int] | None = None,
) -> tuple[Array, ...]:
    """Those of `bwd`, by (5) to (9), which need no o: of queries whose keys are not all in `x`, too."""
    q, k, bias = x.q, x.k, x.bias
    do, m, total, weight = of_queries
    positions = {"causal": causal, "window": window, "query_offset": query_offset}
    c = attending.scale_of(q, scale)
    tiling, padded, score = _in_tiles(x, block, scale, soft_cap, positions)
    do = _pad(do, 1, tiling.queries)
    m, total = _pad(m, 2, tiling.queries), _pad(total, 2, tiling.queries, 1.0)
    weight = None if weight is None else _pad(weight, 2, tiling.queries)

    def of_tile(i: Any, j: Any) -> tuple[Array, ...]:
        q_i, do_i = _queries(padded.q, i, tiling, k), _queries(do, i, tiling, k)
        k_j, v_j = _keys(padded.k, j, tiling), _keys(padded.v, j, tiling)
        m_i, total_i = _rows(m, i, tiling, k), _rows(total, i, tiling, k)
        a, slope = score(i, j)

        def unmasked(y: Array) -> Array:
            return jnp.where(a == -jnp.inf, 0, y) if tiling.is_cut else y

        p = unmasked(jnp.exp(a - m_i) / total_i)  # (5)
        dv = _over_queries(p.astype(q.dtype), do_i)  # (6)
        e = _product("bkgtd,bksd->bkgts", do_i, v_j)
        if weight is None:
            e -= jnp.sum(unmasked(p * e), -1, keepdims=True)
            e -= jnp.sum(unmasked(p * e), -1, keepdims=True)  # what the first has left of it by rounding
        else:
            e -= _rows(weight, i, tiling, k)
        da = unmasked(p * e)  # (7)
        ds = c * da if slope is None else unmasked(c * da * slope)  # (8)
        ds = ds.astype(q.dtype)
        dq = _product("bkgts,bksd->bkgtd", ds, k_j)  # (9)
        dk = _over_queries(ds, q_i)
        d_bias = () if padded.bias is None else (_summed_as(merge_axes(da, 1), padded.bias),)
        return (_by_time(dq), jnp.swapaxes(dk, 1, 2), jnp.swapaxes(dv, 1, 2), *d_bias)

    def add(state: tuple[Array, ...], new: tuple[Array, ...], i: Any, j: Any) -> tuple[Array, ...]:
        (d_q, d_k, d_v, *d_bias), (dq, dk, dv, *db) = state, new
        d_q = _add(d_q, dq, i, tiling.queries)
        d_k, d_v = (_add(y, d, j, tiling.keys) for y, d in ((d_k, dk), (d_v, dv)))
        return (d_q, d_k, d_v, *(_add_tile(y, d, i, j, tiling) for y, d in zip(d_bias, db, strict=True)))

    start = [jnp.zeros_like(y, accumulator(y.dtype)) for y in padded[:4] if y is not None]
    dq, dk, dv, *dbias = _over_tiles(of_tile, add, varying_as(tuple(start), (x, of_queries)), tiling)
    found = [dq[:, : q.shape[1]].astype(q.dtype)]
    found += [d[:, : k.shape[1]].astype(k.dtype) for d in (dk, dv)]
    if bias is not None:
        t, s = attending.in_four_axes(bias).shape[2:]
        found.append(jnp.reshape(dbias[0][:, :, :t, :s], bias.shape).astype(bias.dtype))
    return tuple(found)


def _in_tiles(
    x: Inputs,
    block: int | tuple[int, int] | None,
    scale: float | None,
    soft_cap: float | None,
    positions: dict[str, Any],
) -> tuple[Tiles, Inputs, Any]:
    """The tiles of a call, its inputs padded to whole ones, and `score(i, j)` of one of them."""
    tiling = _tiling(x, block, **positions)
    padded = _padded(x, tiling)
    c = attending.scale_of(x.q, scale)
    return tiling, padded, partial(_scores, padded, scale=c, soft_cap=soft_cap, tiling=tiling, **positions)


def _over_tiles(of_tile: Any, add: Any, state: tuple[Array, ...], tiling: Tiles) -> tuple[Array, ...]:
    """The state with each tile added; of one tile, that alone."""
    if tiling.is_one:
        return of_tile(0, 0)
    if not len(tiling.visited):  # a scan would trace a tile, and there may be no entry to take one of
        return state

    def visit(state: tuple[Array, ...], tile: Array) -> tuple[tuple[Array, ...], None]:
        i, j = tile
        return add(state, of_tile(i, j), i, j), None

    return jax.lax.scan(visit, state, jnp.asarray(tiling.visited))[0]


def _scores(
    x: Inputs,
    i: Integer[Array, ""] | int,
    j: Integer[Array, ""] | int,
    *,
    scale: float,
    soft_cap: float | None,
    tiling: Tiles,
    causal: bool,
    window: int | None,
    query_offset: int,
) -> tuple[Float[Array, "B K G t s"], Float[Array, "B K G t s"] | None]:
    """(1) of a tile, and with a soft cap the derivative of the capped score by the scaled one."""
    q = _queries(x.q, i, tiling, x.k)
    s = scale * _product("bkgtd,bksd->bkgts", q, _keys(x.k, j, tiling))
    if soft_cap is None:
        # c s - m would be compiled to one operation, which rounds once: where m is c s, rounded by itself, it
        # is not 0 then, and of scores beyond 1e9 its exponential overflows.
        s = jnp.maximum(s, jnp.finfo(s.dtype).min)
    a, slope = capped(s, soft_cap)
    if x.bias is not None:
        a += _tile_of(x.bias, i, j, tiling, a).astype(a.dtype)
    if tiling.is_cut:
        keys = j * tiling.keys + jnp.arange(tiling.keys, dtype=jnp.int32)
        row = i * tiling.queries + jnp.arange(tiling.queries, dtype=jnp.int32)
        near = attending.is_causal_within(row, keys, causal=causal, window=window, query_offset=query_offset)
        allowed = jnp.broadcast_to(near, a.shape)
        if x.mask is not None:
            allowed &= _tile_of(x.mask, i, j, tiling, a)
        if x.segments is not None:
            of_queries = _part(x.segments[0], i, tiling.queries, 1)[:, None, None, :, None]
            of_keys = _part(x.segments[1], j, tiling.keys, 1)[:, None, None, None, :]
            allowed &= jnp.broadcast_to(of_queries, a.shape) == jnp.broadcast_to(of_keys, a.shape)
        there = (row < tiling.of_queries)[:, None] & (keys < tiling.of_keys)[None]
        allowed &= jnp.broadcast_to(there, a.shape)
        a = jnp.where(allowed, a, -jnp.inf)
    return a, slope


def _tiling(x: Inputs, block: int | tuple[int, int] | None, **positions: Any) -> Tiles:
    """The tiles of a call, or an error that names what is wrong with `block`."""
    pair = block if isinstance(block, tuple) else (block, block)
    good = block is None or (len(pair) == 2 and all(map(checks.is_count, pair)))
    expected = "None, a positive integer, or two: queries and keys"
    checks.option("attention", "block", block, good, expected)
    (batch, queries, heads, _), keys = x.q.shape, x.k.shape[1]
    masked = x.mask is not None or x.segments is not None
    chosen = size(block, queries, keys, max(1, batch * heads))
    return tiles(queries, keys, chosen, masked=masked, **positions)


def _padded(x: Inputs, tiling: Tiles) -> Inputs:
    """The inputs with whole tiles, and the bias and the mask with four axes."""

    def both(y: Array | None) -> Array | None:
        if y is None:
            return None
        y = attending.in_four_axes(y)
        for axis, count in ((2, tiling.queries), (3, tiling.keys)):
            y = y if y.shape[axis] == 1 else _pad(y, axis, count)
        return y

    return Inputs(
        _pad(x.q, 1, tiling.queries),
        _pad(x.k, 1, tiling.keys),
        _pad(x.v, 1, tiling.keys),
        both(x.bias),
        both(x.mask),
        x.segments and (_pad(x.segments[0], 1, tiling.queries), _pad(x.segments[1], 1, tiling.keys)),
    )


def _pad(x: Array, axis: int, count: int, value: float = 0.0) -> Array:
    """`x` with an axis that `count` divides."""
    lacking = -x.shape[axis] % count
    widths = [(0, lacking if n == axis else 0) for n in range(x.ndim)]
    return jnp.pad(x, widths, constant_values=value) if lacking else x


def _part(x: Array, at: Any, count: int, axis: int) -> Array:
    return x if x.shape[axis] == count else jax.lax.dynamic_slice_in_dim(x, at * count, count, axis)


def _queries(x: Float[Array, "B T H D"], i: Any, tiling: Tiles, k: Array) -> Float[Array, "B K G t D"]:
    """Those of a tile, in the order of the products: an einsum of the other order moves all scores."""
    part = split_axis(_part(x, i, tiling.queries, 1), 2, k.shape[2])
    return jnp.moveaxis(part, 1, 3)


def _keys(x: Float[Array, "B S K D"], j: Any, tiling: Tiles) -> Float[Array, "B K s D"]:
    return jnp.swapaxes(_part(x, j, tiling.keys, 1), 1, 2)


def _rows(x: Float[Array, "B H T"], i: Any, tiling: Tiles, k: Array) -> Float[Array, "B K G t 1"]:
    return split_axis(_part(x, i, tiling.queries, 2), 1, k.shape[2])[..., None]


def _by_time(x: Float[Array, "B K G t D"]) -> Float[Array, "B t H D"]:
    return merge_axes(jnp.moveaxis(x, 3, 1), 2)


def _by_head(x: Float[Array, "B K G t 1"]) -> Float[Array, "B H t"]:
    return merge_axes(x[..., 0], 1)


def _of_heads(y: Float[Array, "B H T"]) -> Float[Array, "B T H 1"]:
    return jnp.swapaxes(y, 1, 2)[..., None]


def _corner(x: Array, i: Any, j: Any, tiling: Tiles) -> tuple[tuple[Any, ...], tuple[int, ...]]:
    """Where a tile of a bias or a mask with four axes begins, and its shape."""
    zero = jnp.zeros_like(i)
    whole = ((i * tiling.queries, tiling.queries), (j * tiling.keys, tiling.keys))
    (t, rows), (s, columns) = (at if n > 1 else (zero, 1) for at, n in zip(whole, x.shape[2:], strict=True))
    return (zero, zero, t, s), (*x.shape[:2], rows, columns)


def _tile_of(x: Array, i: Any, j: Any, tiling: Tiles, a: Float[Array, "B K G t s"]) -> Array:
    """A tile of a bias or a mask, in the shape of `a`."""
    start, shape = _corner(x, i, j, tiling)
    tile = jax.lax.dynamic_slice(x, start, shape)
    heads = a.shape[1] if tile.shape[1] > 1 else 1
    return jnp.broadcast_to(split_axis(tile, 1, heads), a.shape)


def _summed_as(da: Float[Array, "B H t s"], x: Array) -> Array:
    """The sum of a tile over what a bias with four axes is broadcast to."""
    axes = tuple(axis for axis, n in enumerate(x.shape) if n == 1)
    return jnp.sum(da, axes, keepdims=True)


def _add_tile(x: Array, tile: Array, i: Array, j: Array, tiling: Tiles) -> Array:
    """`x`, of a bias with four axes, with a tile added."""
    start, shape = _corner(x, i, j, tiling)
    return jax.lax.dynamic_update_slice(x, jax.lax.dynamic_slice(x, start, shape) + tile, start)


def _put(x: Array, part: Array, at: Array, count: int, axis: int) -> Array:
    return jax.lax.dynamic_update_slice_in_dim(x, part, at * count, axis)


def _add(x: Array, part: Array, at: Array, count: int) -> Array:
    return _put(x, _part(x, at, count, 1) + part, at, count, 1)


def _product(products: str, x: Array, y: Array) -> Array:
    """In at least float32."""
    return jnp.einsum(products, x, y, preferred_element_type=accumulator(x.dtype))


def _over_queries(x: Float[Array, "B K G t s"], y: Float[Array, "B K G t D"]) -> Float[Array, "B K s D"]:
    """The sum over the queries of all heads of a key: of two axes, XLA moves all of `x` for it."""
    return _product("bkts,bktd->bksd", merge_axes(x, 2), merge_axes(y, 2))


def _finite(m: Array) -> Array:
    """The maximum to subtract: 0 where nothing was allowed so far."""
    return jnp.where(m == -jnp.inf, 0, m)
