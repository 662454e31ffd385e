r"""Ring attention: time over the devices.   Axes: B batch, T times of a device, H heads, K heads of the keys,
D head dimension; r, s number the n devices.

    o_i  = sum_j p_ij v_j,    j over the times of all devices       (1)

Each device has its own q, k and v. k and v travel round the ring, from s to s + 1, and at each of their n
stops a device adds what `attention` has for its queries and those keys. With m and l of both, the maximum of
the scores and the sum of e^(a - m):

    m'   = max(m, m_r),    f = e^(m - m') l,    f_r = e^(m_r - m') l_r      (2)
    o'   = (f o + f_r o_r) / l',    l' = f + f_r                    (3)

Backward, with m and l of all keys and w_i = do_i . o_i:

    e_ij  = e^(a_ij - m_i),    da_ij = e_ij (do_i/l_i . v_j - w_i/l_i)      (4)
    dq_i  = sum_j ds_ij k_j,    ds_ij by da_ij as in `attention`    (5)
    dv_j  = sum_i e_ij do_i/l_i,    dk_j = sum_i ds_ij q_i          (6)

and either side may travel: q, do/l, m and w/l with dq, a sum over all keys, or k and v with dk and dv, sums
over all queries. Of a time that is 3 H D + 2 H numbers, l not among them, or 4 K D. The one of fewer bytes
does: the queries, unless the keys have fewer heads or D is 2 or less.

    a cotangent += what the device adds at which it is;  after n - 1 home, where its own waits    (7)

With `causal`, a device adds nothing for later keys, and so the last one has n times the work of the first if
each has times in a row ("contiguous"). "balanced" gives device s the parts s and 2 n - 1 - s of 2 n: then at
every stop but the first, which is its own, a device has either all queries there and the first half of the
keys, or the second half of the queries and all keys, and everybody has the same to do. `balanced` puts time
in that order, `times` tells a device where its own are.

Saved: q, k, v, o, and m and l, the logsumexp m + log l in two parts.  Liu et al. 2023, arXiv:2310.01889;
Brandon et al. 2023, arXiv:2311.09431 (balance); the rest is `attention`'s.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Integer

from manual_bp import checks
from manual_bp.ops import attention
from manual_bp.parallel import axes, collectives
from manual_bp.precision import accumulator, wide
from manual_bp.sharding import varying_as

ORDERS = ("contiguous", "balanced")
"""How time is over the devices."""


class Residuals(NamedTuple):
    """The inputs, the output, and for each query m and l of all keys."""

    q: Float[Array, "B T H D"]
    k: Float[Array, "B T K D"]
    v: Float[Array, "B T K D"]
    o: Float[Array, "B T H D"]
    maximum: Float[Array, "B H T"]
    total: Float[Array, "B H T"]


class _Queries(NamedTuple):
    """What (4) to (6) have of queries: q and do/l, m and w/l."""

    features: Float[Array, "2 B T H D"]
    numbers: Float[Array, "2 B H T"]

    def at(self, times: slice) -> "_Queries":
        return _Queries(self.features[:, :, times], self.numbers[..., times])


class _Pair(NamedTuple):
    fwd: Callable[..., tuple[Any, Any]]
    bwd: Callable[..., Any]


class Ring(_Pair):
    """`fwd(q, k, v, *, axis, causal, order, scale, soft_cap) -> (o, residuals)`, and its `bwd`."""


def _ring_attention_fwd(
    q: Float[Array, "B T H D"],
    k: Float[Array, "B T K D"],
    v: Float[Array, "B T K D"],
    *,
    axis: str | None,
    causal: bool = False,
    order: str = "contiguous",
    scale: float | None = None,
    soft_cap: float | None = None,
) -> tuple[Float[Array, "B T H D"], Residuals]:
    """The output for this device's queries, of the keys of all devices."""
    axes.check("ring_attention", axis)
    _check(q, k, causal, order, axis)
    options: dict[str, Any] = {"scale": scale, "soft_cap": soft_cap}
    own, res = attention.fwd(q, k, v, causal=causal, **options)
    state = (wide(own), res.maximum, res.total)

    def stop(carry: Any, step: Integer[Array, ""]) -> tuple[Any, None]:
        kv, state = carry
        kv, _ = collectives.shift.fwd(kv, axis=axis)

        def added(queries: slice, keys: slice) -> Callable[[Any], Any]:
            def add(state: Any) -> Any:
                k, v = kv[:, :, keys]
                o, res = attention.fwd(q[:, queries], k, v, **options)
                part = (state[0][:, queries], *(x[:, :, queries] for x in state[1:]))
                o, m, l = _merged(part, (wide(o), res.maximum, res.total))
                sums, maximum, total = state
                return (
                    sums.at[:, queries].set(o),
                    maximum.at[:, :, queries].set(m),
                    total.at[:, :, queries].set(l),
                )

            return add

        are_keys_before = step <= axes.index(axis)  # they come from device s - step
        return (kv, _where_allowed(added, state, are_keys_before, q.shape[1], causal, order)), None

    start = varying_as(axes.vary((jnp.stack([k, v]), state), axis), (q, k, v))
    (_, (o, m, l)), _ = lax.scan(stop, start, jnp.arange(1, axes.size(axis), dtype=jnp.int32))
    o = o.astype(q.dtype)
    return o, Residuals(q, k, v, o, m, l)


def _ring_attention_bwd(
    res: Residuals,
    do: Float[Array, "B T H D"],
    *,
    axis: str | None,
    causal: bool = False,
    order: str = "contiguous",
    scale: float | None = None,
    soft_cap: float | None = None,
) -> tuple[Float[Array, "B T H D"], Float[Array, "B T K D"], Float[Array, "B T K D"]]:
    """The cotangents of this device's `q`, `k` and `v`."""
    q, k, v = res[:3]
    checks.cotangent("ring_attention", "do", do, q)
    queries, kv = _divided(res, do), jnp.stack([k, v])
    keys_travel = _are_keys_fewer_bytes(q, k)

    def of_block(queries: _Queries, kv: Array, *, causal: bool) -> tuple[Array, Array]:
        """(4), and what is added to (5) and (6)."""
        (q, do), (m, weight) = queries
        inputs = attention.Inputs(q, kv[0], kv[1], None, None, None)
        of_queries = attention.OfQueries(do, m, jnp.ones_like(m), weight)
        found = attention.cotangents(inputs, of_queries, causal=causal, scale=scale, soft_cap=soft_cap)
        dq, dk, dv = map(wide, found)
        return dq, jnp.stack([dk, dv])

    def stop(carry: Any, step: Integer[Array, ""]) -> tuple[Any, None]:
        visitors, dq, d_kv = carry
        visitors = _to_the_next(visitors, axis)  # those of device s - step
        queries_, kv_ = (queries, visitors) if keys_travel else (visitors, kv)

        def added(times: slice, keys: slice) -> Callable[[Any], Any]:
            def add(state: Any) -> Any:
                dq, d_kv = state
                dq_, d_kv_ = of_block(queries_.at(times), kv_[:, :, keys], causal=False)
                return dq.at[:, times].add(dq_), d_kv.at[:, :, keys].add(d_kv_)

            return add

        are_keys_before = step <= axes.index(axis) if keys_travel else step > axes.index(axis)
        dq, d_kv = _where_allowed(added, (dq, d_kv), are_keys_before, q.shape[1], causal, order)
        if keys_travel:
            d_kv = _after(visitors, d_kv, axis)  # (7)
        else:
            dq = _after(visitors, dq, axis)  # (7)
        return (visitors, dq, d_kv), None

    own_q, own_kv = of_block(queries, kv, causal=causal)
    leaving = jnp.zeros_like(own_kv if keys_travel else own_q)  # what is added here does not travel
    start = (kv, own_q, leaving) if keys_travel else (queries, leaving, own_kv)
    start = varying_as(axes.vary(start, axis), (res, do))
    (_, dq, d_kv), _ = lax.scan(stop, start, jnp.arange(1, axes.size(axis), dtype=jnp.int32))
    dq, d_kv = (dq, own_kv + d_kv) if keys_travel else (own_q + dq, d_kv)
    dk, dv = d_kv.astype(k.dtype)
    return dq.astype(q.dtype), dk, dv


ring_attention = Ring(_ring_attention_fwd, _ring_attention_bwd)


def balanced(x: Array, devices: int, *, dim: int = 1) -> Array:
    """A whole sequence in the order "balanced": in equal parts, device s has its parts s and 2 n - 1 - s."""
    return jnp.take(x, _balanced(x.shape[dim], devices), dim)


def in_time(x: Array, devices: int, *, dim: int = 1) -> Array:
    """A whole sequence that is in the order "balanced", in that of time again."""
    return jnp.take(x, np.argsort(_balanced(x.shape[dim], devices)), dim)


def times(count: int, *, axis: str | None, order: str = "contiguous") -> Integer[Array, "T"]:
    """The times of this device, of which there are `count`, in the order in which it has them."""
    checks.choice("sequence.times", "order", order, ORDERS)
    s, n = axes.index(axis), axes.size(axis)
    here = jnp.arange(count, dtype=jnp.int32)
    if order == "contiguous":
        return here + count * s
    half = _half("sequence.times", count)
    return jnp.where(here < half, here + half * s, here + half * (2 * n - 2 - s))


def _balanced(count: int, devices: int) -> np.ndarray:
    if count % (2 * devices):
        raise ValueError(
            f"sequence.balanced: there are {count} times; expected a number that divides by {2 * devices}, "
            "twice the devices"
        )
    parts = np.arange(count).reshape(2 * devices, -1)
    return np.concatenate([np.concatenate([parts[s], parts[-1 - s]]) for s in range(devices)])


def _half(op: str, count: int) -> int:
    if count % 2:
        raise ValueError(f'{op}: there are {count} times here; expected an even number for order="balanced"')
    return count // 2


def _divided(res: Residuals, do: Float[Array, "B T H D"]) -> _Queries:
    """What (4) to (6) need of queries: l, by which it is divided, is then in nothing else."""
    weight = attention.of_output(do, res.o) / res.total
    do = (wide(do) / jnp.swapaxes(res.total, 1, 2)[..., None]).astype(do.dtype)
    return _Queries(jnp.stack([res.q, do]), jnp.stack([res.maximum, weight]))


def _are_keys_fewer_bytes(q: Float[Array, "B T H D"], k: Float[Array, "B T K D"]) -> bool:
    """Whether k, v, dk and dv are no more than q, do, dq, m and w/l; the cotangents travel in float32."""
    (heads, width), one, of_sum = q.shape[2:], q.dtype.itemsize, accumulator(q.dtype).itemsize
    of_keys = k.shape[2] * width * (2 * one + 2 * of_sum)
    return of_keys <= heads * (width * (2 * one + of_sum) + 2 * of_sum)


def _to_the_next(tree: Any, axis: str | None) -> Any:
    """What the device before has; its arrays are sent in one order on all devices."""
    first, *rest = jax.tree.leaves(tree)
    sent = [collectives.shift.fwd(first, axis=axis)[0]]
    for x in rest:
        sent.append(_after(sent, x, axis))
    return jax.tree.unflatten(jax.tree.structure(tree), sent)


def _after(before: Any, x: Array, axis: str | None) -> Array:
    """What the device before has, once `before` is there on every device."""
    _, x = lax.optimization_barrier((before, x))
    return collectives.shift.fwd(x, axis=axis)[0]


def _merged(one: tuple[Array, Array, Array], other: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
    """o, m and l of the keys of two together."""
    m = jnp.maximum(one[1], other[1])
    f, g = (jnp.exp(m_ - m) * l for _, m_, l in (one, other))  # (2)
    total = f + g
    share, rest = (jnp.swapaxes(x / total, 1, 2)[..., None] for x in (f, g))
    return share * one[0] + rest * other[0], m, total  # (3)


def _where_allowed(
    added: Callable[[slice, slice], Callable[[Any], Any]],
    state: Any,
    are_keys_before: Bool[Array, ""],
    count: int,
    causal: bool,
    order: str,
) -> Any:
    """The state with what queries of a device and keys of another add, all of which come before or after."""
    everything = slice(None)
    if not causal:
        return added(everything, everything)(state)
    if order == "contiguous":
        return lax.cond(are_keys_before, added(everything, everything), lambda state: state, state)
    half = _half("ring_attention", count)
    early, late = added(everything, slice(half)), added(slice(half, None), everything)
    return lax.cond(are_keys_before, early, late, state)


def _check(q: Array, k: Array, causal: Any, order: Any, axis: str | None) -> None:
    op = "ring_attention"
    checks.floating(op, q=q, k=k)
    if q.ndim == k.ndim == 4 and q.shape[1] != k.shape[1]:
        raise ValueError(
            f"{op}: k has {k.shape[1]} keys here and q {q.shape[1]} queries; expected equal parts of time on "
            "every device"
        )
    checks.option(op, "causal", causal, isinstance(causal, bool), "True or False")
    checks.choice(op, "order", order, ORDERS)
    if q.ndim > 1 and order == "balanced":
        _half(op, q.shape[1])
