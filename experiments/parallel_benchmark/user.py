"""Blocks of a decoder as a JAX user writes them in `shard_map`, to be differentiated by jax.grad.

Axes: B batch, T time, C width, H heads of D features. Sums over a mesh axis stand where the forward needs
them; those of the backward JAX finds itself.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from jax_ref.ops import dense, layer_norm, squared_error

X = Float[Array, "B T C"]
Heads = Float[Array, "B T H D"]


def attention(q: Heads, k: Heads, v: Heads) -> Heads:
    """Causal attention."""
    times = jnp.arange(q.shape[1])
    weights = jax.nn.softmax(_scores(q, k, times[:, None] >= times[None]), -1)
    return jnp.einsum("bhts,bshd->bthd", weights, v)


def block(
    p: Any,
    x: X,
    *,
    heads: int,
    axis: str | None = None,
    fused: bool = False,
    attention: Callable[[Heads, Heads, Heads], Heads] = attention,
) -> X:
    """A block of `p`, a `manual_bp.models.gpt.Block`; with heads and hidden features over `axis`, if any.

    With `fused` queries, keys and values are one product, whose cotangent of x is one sum.
    """
    width = x.shape[2] // heads

    def leave(of: Any, a: Array) -> X:
        y = a @ of.w
        return (y if axis is None else lax.psum(y, axis)) + of.b

    n = layer_norm.apply(p.norm1, x, eps=1e-5)
    if fused:
        w, b = (jnp.stack(leaves, -2) for leaves in zip(p.q, p.k, p.v, strict=True))
        projected = jnp.moveaxis(jnp.einsum("btc,cno->btno", n, w) + b, 2, 0)
    else:
        projected = [dense.apply(of, n) for of in (p.q, p.k, p.v)]
    q, k, v = (y.reshape(*y.shape[:2], -1, width) for y in projected)
    o = attention(q, k, v)
    x = x + leave(p.out, o.reshape(*o.shape[:2], -1))
    m = layer_norm.apply(p.norm2, x, eps=1e-5)
    return x + leave(p.mlp.down, jax.nn.gelu(dense.apply(p.mlp.up, m)))


def stack(layer: Callable[[Any, X], X], params: Any, x: X) -> X:
    """Layers under a scan."""
    return lax.scan(lambda x, p: (layer(p, x), None), x, params)[0]


def cost(y: X, targets: X) -> Float[Array, ""]:
    """The mean of squares over the tokens."""
    return jnp.mean(squared_error.apply(y, targets))


def ring(q: Heads, k: Heads, v: Heads, *, axis: str, keep: Callable[..., Any] = lambda f: f) -> Heads:
    """Causal attention of a device's queries to the keys of all, which travel round the ring.

    `keep` may be `jax.checkpoint`, of what a device does at a stop.
    """
    s, n, times = lax.axis_index(axis), lax.axis_size(axis), jnp.arange(q.shape[1])

    @keep
    def stop(state: Any, kv: Array, behind: Array) -> Any:
        allowed = times[:, None] + behind * len(times) >= times[None]
        a = _scores(q, kv[0], allowed)
        o, m, l = state
        new = lax.stop_gradient(jnp.maximum(m, jnp.max(a, -1, keepdims=True)))
        e, f = jnp.exp(a - new), jnp.exp(m - new)
        return f * o + jnp.einsum("bhts,bshd->bhtd", e, kv[1]), new, f * l + jnp.sum(e, -1, keepdims=True)

    def turn(carry: Any, step: Array) -> tuple[Any, None]:
        kv, state = carry
        kv = lax.ppermute(kv, axis, [(i, (i + 1) % n) for i in range(n)])
        return (kv, stop(state, kv, jnp.where(step <= s, step, -n))), None

    kv = jnp.stack([k, v])
    zeros = jnp.zeros_like(jnp.moveaxis(q, 1, 2))
    own = stop((zeros, jnp.full_like(zeros[..., :1], -jnp.inf), zeros[..., :1]), kv, jnp.asarray(0))
    (_, (o, _, l)), _ = lax.scan(turn, (kv, own), jnp.arange(1, n))
    return jnp.moveaxis(o / l, 1, 2)


def by_jax(layer: Callable[[Any, X], X]) -> Callable[..., tuple[Array, Any]]:
    """The cost, which every device has, and its gradient."""
    return jax.value_and_grad(lambda params, x, targets: cost(stack(layer, params, x), targets))


def share_of(layer: Callable[[Any, X], X], n: int, axis: str) -> Callable[..., tuple[Array, Any]]:
    """The cost of all devices, each with as many tokens, and its gradient by replicated params.

    They are cast to vary before the scan, so that JAX sums their gradient once and not in each layer.
    """

    def side(params: Any, x: X, targets: X) -> tuple[Array, Any]:
        def share(params: Any) -> Array:
            params = jax.tree.map(partial(lax.pcast, axis_name=axis, to="varying"), params)
            return cost(stack(layer, params, x), targets) / n

        value, grads = jax.value_and_grad(share)(params)
        return lax.psum(value, axis), grads

    return side


def _scores(q: Heads, k: Heads, allowed: Bool[Array, "T S"]) -> Float[Array, "B H T S"]:
    a = jnp.einsum("bthd,bshd->bhts", q, k) * float(q.shape[-1]) ** -0.5
    return jnp.where(allowed, a, -jnp.inf)
