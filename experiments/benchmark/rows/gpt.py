"""Rows of a decoder in GPT-2's form: a step of plain SGD on one batch.

The opponents are the same network as a JAX user writes it, with what JAX and Optax have for its parts.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.benchmark.rows.models import step
from experiments.benchmark.rows.row import Draw, Function, Row
from experiments.common import decoder
from manual_bp.models import gpt

POLICIES = jax.checkpoint_policies


def _gpt(
    draw: Draw, *, layers: int, width: int, heads: int, tokens: int, batch: int, vocabulary: int, keep: str
) -> Row:
    (per_head,) = draw.dims(width // heads)
    layers, heads, tokens, batch, vocabulary = draw.dims(layers, heads, tokens, batch, vocabulary)
    width = heads * per_head
    params = gpt.init(
        jax.random.key(0), vocabulary, layers=layers, width=width, heads=heads, context=tokens, bias=False
    )
    ids, targets = jnp.asarray(draw.rng.integers(0, vocabulary, (2, batch, tokens), np.int32))
    plain = partial(_loss, heads=heads, attend=_attention, around=lambda layer: layer)
    losses: dict[str, Callable[..., jax.Array]] = {
        "jax.grad": plain,
        "jax.grad, layers unrolled": partial(plain, unroll=True),
        "jax.nn.dot_product_attention": partial(plain, attend=_by_jax),
        "jax.checkpoint, matrix products kept": partial(
            plain, around=partial(jax.checkpoint, policy=POLICIES.dots_with_no_batch_dims_saveable)
        ),
        "jax.checkpoint of each layer": partial(plain, around=jax.checkpoint),
    }
    return Row(
        f"{layers} layers, width {width}, {heads} heads, T {tokens}, B {batch}, V {vocabulary}",
        (params, (ids, targets)),
        partial(step, partial(gpt.value_and_grad, heads=heads, keep=keep)),
        {name: partial(step, jax.value_and_grad(loss)) for name, loss in losses.items()},
        matmul_flops=decoder.matmul_flops(params, batch, tokens),
        static={"heads": heads},
    )


def _loss(
    params: gpt.Params,
    batch: tuple[jax.Array, jax.Array],
    *,
    heads: int,
    attend: Function,
    around: Function,
    unroll: bool = False,
) -> jax.Array:
    """The mean loss; `attend` is the attention of q, k and v, and `around` what is put around a layer."""
    ids, targets = batch
    assert params.positions is not None
    x = params.embedding.table[ids] + params.positions.table[None, : ids.shape[1]]

    @around
    def layer(x: jax.Array, block: Any) -> tuple[jax.Array, None]:
        n = _norm(x, block.norm1)
        q, k, v = ((n @ p.w).reshape(*n.shape[:2], heads, -1) for p in (block.q, block.k, block.v))
        x = x + attend(q, k, v).reshape(x.shape) @ block.out.w
        m = _norm(x, block.norm2)
        return x + jax.nn.gelu(m @ block.mlp.up.w, approximate=True) @ block.mlp.down.w, None

    x, _ = jax.lax.scan(layer, x, params.blocks, unroll=unroll)
    logits = _norm(x, params.norm) @ params.embedding.table.T
    return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()


def _norm(x: jax.Array, params: Any) -> jax.Array:
    mean, var = jnp.mean(x, -1, keepdims=True), jnp.var(x, -1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(var + 1e-5) * jnp.expand_dims(params.g, (0, 1))


def _attention(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    scores = jnp.einsum("bthd,bshd->bhts", q, k) * q.shape[-1] ** -0.5
    causal = jnp.expand_dims(jnp.tril(jnp.ones(scores.shape[-2:], bool)), (0, 1))
    p = jax.nn.softmax(jnp.where(causal, scores, -jnp.inf))
    return jnp.einsum("bhts,bshd->bthd", p, v)


def _by_jax(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    return jax.nn.dot_product_attention(q, k, v, is_causal=True)


ROWS = {
    "gpt.small": partial(
        _gpt, layers=6, width=384, heads=6, tokens=256, batch=8, vocabulary=65, keep="matmuls"
    ),
    "gpt.vocabulary": partial(
        _gpt, layers=4, width=512, heads=8, tokens=1024, batch=2, vocabulary=16384, keep="matmuls"
    ),
}
