"""A decoder in plain JAX, before three of its lines are replaced and after it.

Its layers run under a scan. Layers that are written one after the other `jax.checkpoint` would not help on a
CPU: there XLA finds that what is made again is what there was, and keeps it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from manual_bp import differentiable
from manual_bp.ops import attention, dense, linear_cross_entropy

Params = dict[str, Any]
Attend = Callable[[Array, Array, Array], Array]
Loss = Callable[[Array, Array, Array], Array]


class Way(NamedTuple):
    """What is in the place of the three lines, and around a layer and the loss."""

    name: str
    attend: Attend
    losses: Loss
    around: Callable[[Callable[..., Any]], Callable[..., Any]]


def init(seed: int, *, length: int, layers: int, width: int, vocabulary: int) -> Params:
    """Random params."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> Array:
        return jnp.asarray(0.02 * rng.standard_normal(shape, np.float32))

    of_layer = {"qkv": (width, 3 * width), "out": (width, width), "up": (width, 4 * width)}
    of_layer |= {"down": (4 * width, width)}
    return {
        "tokens": normal(vocabulary, width),
        "positions": normal(length, width),
        "layers": {name: normal(layers, *shape) for name, shape in of_layer.items()},
        "head": normal(width, vocabulary),
    }


def loss(
    params: Params, ids: Int[Array, "B T"], targets: Int[Array, "B T"], *, way: Way, heads: int
) -> Float[Array, ""]:
    """The mean cross-entropy."""

    def layer(x: Array, weights: Params) -> tuple[Array, None]:
        q, k, v = (_by_head(y, heads) for y in jnp.split(_normalised(x) @ weights["qkv"], 3, -1))
        x = x + jnp.reshape(way.attend(q, k, v), x.shape) @ weights["out"]
        return x + jax.nn.gelu(_normalised(x) @ weights["up"]) @ weights["down"], None

    x = params["tokens"][ids] + params["positions"][None]
    x, _ = jax.lax.scan(way.around(layer), x, params["layers"])
    return jnp.mean(way.around(way.losses)(_normalised(x), params["head"], targets))


def _normalised(x: Array) -> Array:
    centred = x - jnp.mean(x, -1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.mean(centred**2, -1, keepdims=True) + 1e-5)


def _by_head(x: Array, heads: int) -> Array:
    return jnp.reshape(x, (*x.shape[:2], heads, -1))


def plain_attention(q: Array, k: Array, v: Array) -> Array:
    """As it is written out in many a repository."""
    scores = jnp.einsum("bthd,bshd->bhts", q, k) / q.shape[-1] ** 0.5
    seen = jnp.tri(q.shape[1], dtype=bool)
    p = jax.nn.softmax(jnp.where(seen[None, None], scores, -jnp.inf))
    return jnp.einsum("bhts,bshd->bthd", p, v)


def plain_losses(h: Array, head: Array, targets: Array) -> Array:
    """Logits, and the loss of each token."""
    log_p = jax.nn.log_softmax(h @ head)
    return -jnp.take_along_axis(log_p, targets[..., None], -1)[..., 0]


def losses(h: Array, head: Array, targets: Array) -> Array:
    """Both in one."""
    return differentiable(linear_cross_entropy)(dense.Params(head, None), h, targets)


def as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    """Nothing around it."""
    return function


_attend = partial(differentiable(attention), causal=True)

WAYS = {
    "plain": Way("jax.grad", plain_attention, plain_losses, as_it_is),
    "checkpoint": Way("jax.checkpoint", plain_attention, plain_losses, jax.checkpoint),
    "replaced": Way("replaced", _attend, losses, as_it_is),
    "both": Way("both", _attend, losses, jax.checkpoint),
}
"""The step as it is, with jax.checkpoint around a layer and the loss, with the lines replaced, and both."""
