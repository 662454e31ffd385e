r"""Ring attention: time over the devices.   Axes: B batch, T times of a device, H heads, K heads of the keys,
D head dimension; r, s number the n devices.

    o_i  = sum_j p_ij v_j,    j over the times of all devices       (1)

Each device has its own q, k and v. k and v travel round the ring, from s to s + 1, and at each of their n
stops a device adds what `attention` has for its queries and those keys. With m and l of both, the maximum of
the scores and the sum of e^(a - m):

    m'   = max(m, m_r),    f = e^(m - m') l,    f_r = e^(m_r - m') l_r      (2)
    o'   = (f o + f_r o_r) / l',    l' = f + f_r                    (3)

Backward they travel again, and the cotangents with them, as dk_j and dv_j are sums over the queries of all
devices:

    dq_i  = sum_r (dq of the keys of r),    p_ij = e^(a_ij - m_i) / l_i with the m and l of all keys    (4)
    dk_j += what the device adds at which they are;  after n - 1 of them home, where their own waits    (5)

With `causal`, a device adds nothing for later keys, and so the last one has n times the work of the first if
each has times in a row ("contiguous"). "balanced" gives device s the parts s and 2 n - 1 - s of 2 n: then at
every stop but the first, which is its own, a device has either all its queries and the first half of the
keys, or the second half of its queries and all keys, and everybody has the same to do. `balanced` puts time
in that order, `times` tells a device where its own are.

Saved: q, k, v, o, and m and l, the logsumexp m + log l in two parts.  Liu et al. 2023, arXiv:2310.01889;
Brandon et al. 2023, arXiv:2311.09431 (balance); the rest is `attention`'s.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Int

from manual_bp import checks
from manual_bp.ops import attention
from manual_bp.parallel import axes, collectives
from manual_bp.precision import wide
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

    def stop(carry: Any, step: Int[Array, ""]) -> tuple[Any, None]:
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

        return (kv, _where_allowed(added, state, step, q.shape[1], axis, causal, order)), None

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

    def of_block(queries: slice, k: Array, v: Array, *, causal: bool) -> tuple[Array, ...]:
        """(4), and what is added to (5)."""
        inputs = attention.Inputs(q[:, queries], k, v, None, None, None)
        o, m, l = res.o[:, queries], res.maximum[:, :, queries], res.total[:, :, queries]
        saved = attention.Residuals(inputs, o, m, l)
        found = attention.bwd(saved, do[:, queries], causal=causal, scale=scale, soft_cap=soft_cap)
        return tuple(map(wide, found))

    def stop(carry: Any, step: Int[Array, ""]) -> tuple[Any, None]:
        kv, d_kv, dq = carry
        kv, _ = collectives.shift.fwd(kv, axis=axis)

        def added(queries: slice, keys: slice) -> Callable[[Any], Any]:
            def add(state: Any) -> Any:
                d_kv, dq = state
                dq_, dk, dv = of_block(queries, *kv[:, :, keys], causal=False)
                return d_kv.at[:, :, keys].add(jnp.stack([dk, dv])), dq.at[:, queries].add(dq_)

            return add

        d_kv, dq = _where_allowed(added, (d_kv, dq), step, q.shape[1], axis, causal, order)
        kv, d_kv = lax.optimization_barrier((kv, d_kv))  # d_kv is sent behind kv on every device
        d_kv, _ = collectives.shift.fwd(d_kv, axis=axis)  # (5): where kv will be next, at last home
        return (kv, d_kv, dq), None

    dq, dk, dv = of_block(slice(None), k, v, causal=causal)
    own = jnp.stack([dk, dv])
    start = varying_as(axes.vary((jnp.stack([k, v]), jnp.zeros_like(own), dq), axis), (res, do))
    (_, d_kv, dq), _ = lax.scan(stop, start, jnp.arange(1, axes.size(axis), dtype=jnp.int32))
    dk, dv = (own + d_kv).astype(k.dtype)  # what is added here has not travelled
    return dq.astype(q.dtype), dk, dv


ring_attention = Ring(_ring_attention_fwd, _ring_attention_bwd)


def balanced(x: Array, devices: int, *, dim: int = 1) -> Array:
    """A whole sequence in the order "balanced": in equal parts, device s has its parts s and 2 n - 1 - s."""
    return jnp.take(x, _balanced(x.shape[dim], devices), dim)


def in_time(x: Array, devices: int, *, dim: int = 1) -> Array:
    """A whole sequence that is in the order "balanced", in that of time again."""
    return jnp.take(x, np.argsort(_balanced(x.shape[dim], devices)), dim)


def times(count: int, *, axis: str | None, order: str = "contiguous") -> Int[Array, "T"]:
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
    step: Int[Array, ""],
    count: int,
    axis: str | None,
    causal: bool,
    order: str,
) -> Any:
    """The state with what queries and keys of this stop add: the keys come from device s - step."""
    everything = slice(None)
    if not causal:
        return added(everything, everything)(state)
    before = step <= axes.index(axis)  # those of a device before this one, not of one behind it
    if order == "contiguous":
        return lax.cond(before, added(everything, everything), lambda state: state, state)
    half = _half("ring_attention", count)
    return lax.cond(before, added(everything, slice(half)), added(slice(half, None), everything), state)


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
