"""Decoder of text in the forms of GPT-2 and Llama, as a JAX user writes it."""

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Integer, Key

from jax_ref.ops import activations, attention, dense, embedding, gated_mlp, layer_norm, rms_norm, rope
from jax_ref.ops import dropout as drop
from jax_ref.precision import at_least_float32

Table = embedding.Params


@runtime_checkable
class Params(Protocol):
    """Anything with these fields; the leaves of `blocks` have an axis of layers in front."""

    @property
    def embedding(self) -> Table:
        """The rows of the tokens."""
        ...

    @property
    def positions(self) -> Table | None:
        """The rows of the positions, or None for rotary ones."""
        ...

    @property
    def blocks(self) -> Any:
        """With `norm1`, `q`, `k`, `v`, `out`, `norm2` and `mlp`."""
        ...

    @property
    def norm(self) -> Any:
        """The last norm."""
        ...

    @property
    def head(self) -> dense.Params | None:
        """The map to the logits, or None for the embedding's rows."""
        ...


def apply(
    params: Params,
    ids: Integer[Array, "B T"],
    key: Key[Array, ""] | None = None,
    *,
    heads: int,
    activation: str | None = None,
    eps: float = 1e-5,
    rope_base: float = 10000.0,
    rope_scaling: Any = None,
    dropout: float = 0.0,
    dtype: DTypeLike | None = None,
    keep: str = "matmuls",
) -> Float[Array, "B T V"]:
    """The logits of the token after each; `keep` is how another program saves memory."""
    x = embedding.apply(params.embedding, ids)
    if params.positions is not None:
        x = x + jnp.expand_dims(params.positions.table[: ids.shape[1]], 0)
    if dtype is not None:
        x = x.astype(dtype)
    layers = len(params.blocks.q.w)
    keys = None if dropout == 0 or key is None else jax.random.split(key, 2 * layers + 1)
    if keys is not None:
        x = drop.apply(x, keys[0], rate=dropout)
        keys = jnp.reshape(keys[1:], (layers, 2))

    def norm(params: Any, x: Array) -> Array:
        op = layer_norm if hasattr(params, "b") else rms_norm
        return op.apply(params, x, eps=eps)

    def dropped(x: Array, keys: Array | None, place: int) -> Array:
        return x if keys is None else drop.apply(x, keys[place], rate=dropout)

    def by_head(x: Array) -> Array:
        width = params.blocks.q.w.shape[-1] // heads
        return jnp.reshape(x, (*x.shape[:2], x.shape[2] // width, width))

    def layer(x: Array, given: tuple[Any, Array | None]) -> tuple[Array, None]:
        block, keys = given
        n = norm(block.norm1, x)
        q, k, v = (by_head(dense.apply(p, n)) for p in (block.q, block.k, block.v))
        if params.positions is None:
            q, k = (rope.apply(y, base=rope_base, scaling=rope_scaling) for y in (q, k))
        o = attention.apply(q, k, v, causal=True)
        x = x + dropped(dense.apply(block.out, jnp.reshape(o, (*o.shape[:2], -1))), keys, 0)
        n = norm(block.norm2, x)
        if hasattr(block.mlp, "gate"):
            branch = gated_mlp.apply(block.mlp, n, activation=activation or "silu")
        else:
            hidden = getattr(activations, activation or "gelu_tanh")(dense.apply(block.mlp.up, n))
            branch = dense.apply(block.mlp.down, hidden)
        return x + dropped(branch, keys, 1), None

    x, _ = jax.lax.scan(layer, x, (params.blocks, keys))
    x = norm(params.norm, x)
    return (
        x @ params.embedding.table.T.astype(x.dtype) if params.head is None else dense.apply(params.head, x)
    )


def loss(
    params: Params,
    batch: tuple[Any, ...],
    *,
    ignore_label: int | None = None,
    chunk: int = 256,
    **static: Any,
) -> Float[Array, ""]:
    """The mean cross-entropy of the targets that count, of a batch `(ids, targets)` or `(ids, targets, key)`.

    `chunk` is how another program takes them apart, and changes nothing here.
    """
    ids, targets, *key = batch
    log_p = jax.nn.log_softmax(at_least_float32(apply(params, ids, *key, **static)))
    counted = jnp.ones(targets.shape, bool) if ignore_label is None else targets != ignore_label
    at_target = jnp.take_along_axis(log_p, jnp.where(counted, targets, 0)[..., None], axis=-1)[..., 0]
    return -jnp.sum(jnp.where(counted, at_target, 0)) / jnp.maximum(jnp.sum(counted, dtype=log_p.dtype), 1)
