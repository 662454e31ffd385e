"""The stack of a decoder's blocks, as a JAX user writes it, with random params of the hand-written one."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax_ref import ops
from manual_bp.models import gpt as one_device
from manual_bp.models.gpt import Block
from manual_bp.parallel import gpt

X = Float[Array, "B T C"]


def init(key: Array, layers: int, width: int, hidden: int, heads: int) -> Block:
    """Random params of a stack, in float64, none of them zero."""
    start = one_device.init(
        key, 1, layers=layers, width=width, heads=heads, hidden=hidden, context=1, dtype=jnp.float64
    ).blocks
    leaves, tree = jax.tree.flatten(start)
    keys = jax.random.split(key, len(leaves))
    drawn = [
        x + jax.random.normal(k, x.shape, x.dtype) / width**0.5 for k, x in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(tree, drawn)


def specs(blocks: Block, heads: int, axis: str, size: int) -> Any:
    """How the params of the stack lie on the mesh, with heads and hidden features over an axis."""
    width = blocks.q.w.shape[1]
    around = one_device.init(jax.random.key(0), size, layers=1, width=width, heads=heads)
    return gpt.specs(around._replace(blocks=blocks), heads=heads, model=axis, size=size).blocks


def plain(blocks: Block, x: X, *, heads: int) -> X:
    """The stack."""

    def layer(x: X, p: Block) -> tuple[X, None]:
        n = ops.layer_norm.apply(p.norm1, x, eps=1e-5)
        q, k, v = (ops.dense.apply(w, n).reshape(*x.shape[:2], heads, -1) for w in (p.q, p.k, p.v))
        o = ops.attention.apply(q, k, v, causal=True)
        x = x + ops.dense.apply(p.out, o.reshape(x.shape))
        m = ops.layer_norm.apply(p.norm2, x, eps=1e-5)
        return x + ops.dense.apply(p.mlp.down, jax.nn.gelu(ops.dense.apply(p.mlp.up, m))), None

    return jax.lax.scan(layer, x, blocks)[0]
