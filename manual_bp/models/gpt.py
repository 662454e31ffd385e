r"""Pre-norm decoder of text: GPT-2, Llama, and what lies between.   Axes: B batch, T time, C width, H heads
of D features, K heads of keys and values, F hidden features, V vocabulary; l = 1..L numbers the layers.

    x^0  = E_id + P_t,    or E_id with rotary positions             (1)
    n    = norm_1(x)                                                (2)
    q, k, v = n W_q + b_q, n W_k + b_k, n W_v + b_v                 (3)
    q, k = rope(q), rope(k),    unless positions are learned        (4)
    o    = attention(q, k, v), causal                               (5)
    x'   = x + dropout(o W_o + b_o)                                 (6)
    m    = norm_2(x')                                               (7)
    y    = x' + dropout(mlp(m))                                     (8)
    h    = norm(x^L)                                                (9)
    z    = h W,    or h E^T with a tied head                        (10)
    cost = (1/N) sum -log softmax(z_bt)_target    over the N targets that count     (11)

    dz   = (dcost/N) (softmax(z) - [v = target])                    (12)
    dh, dW = the backward of (10) for dz;    with a tied head dE = dW^T     (13)
    dx^L   = the backward of (9) for dh, and so on from layer L to the first:       (14)
    dm     = the backward of the dropout and the mlp of (8) for dy  (15)
    dx'    = dy + the backward of (7) for dm                        (16)
    do     = the backward of the dropout and of W_o for dx'         (17)
    dq, dk, dv = the backward of (5) for do, turned back by that of (4)     (18)
    dn     = dq W_q^T + dk W_k^T + dv W_v^T                         (19)
    dx     = dx' + the backward of (2) for dn                       (20)
    dE, dP = the backward of (1) for dx^0;    with a tied head it is added to that of (13)      (21)

Which norm, which mlp, which positions and which head it is, the types in `Params` say. What GPT-2 is made of:
learned positions, `layer_norm`, `MLP` with `gelu_tanh`, biases, a tied head; what Llama is made of: rotary
positions, `rms_norm`, `gated_mlp` with `silu`, fewer heads of keys, a head of its own, no biases. Dropout is
that of the embedding and of the two branches, not of the attention's probabilities.

Layers are stacked on a leading axis and run under a scan, backward in reverse. What a block saves, the static
option `keep` says; the rest is made again in its backward:

    keep       saved of a token and layer, in features              made again
    all        16 C: what every op saves                            nothing
    matmuls    10 C: x, q, k, v, o, x', and the hidden features before their activation     norms, activations
    inputs     C: x                                                 all but the last product

(for K = H and F = 4 C; a gated mlp has F features more.) `residual_bytes` counts them without a run. Of 6
layers with C = 384 they are 303, 189 and 19 MB at B T = 8 x 256 in float32, where a step has 374, 257 and 106
MB of temporary memory. With `inputs` a block's products but the last are done twice: up to a third more
arithmetic in a step.

Activations are of the dtype `dtype`, than which the params may be wider.

Radford et al. 2019 (GPT-2); Touvron et al. 2023, arXiv:2302.13971 (Llama); Vaswani et al. 2017,
arXiv:1706.03762; Press & Wolf 2017, arXiv:1608.05859 (tied head); Chen et al. 2016, arXiv:1604.06174
(`keep`).
"""

from math import inf
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Integer, Key

from manual_bp import checks
from manual_bp.ops import (
    activations,
    attention,
    dense,
    dropout,
    embedding,
    gated_mlp,
    layer_norm,
    linear_cross_entropy,
    rms_norm,
    rope,
)
from manual_bp.precision import accumulator
from manual_bp.sharding import merge_axes, split_axis, varying_as
from manual_bp.taps import Tapper, plain

NORMS: dict[str, ModuleType] = {"layer_norm": layer_norm, "rms_norm": rms_norm}
"""The norms by name."""

KEEP = ("all", "matmuls", "inputs")
"""What a block saves, by name: what its ops do, the results of its products, its input."""

STANDARD_DEVIATION = 0.02
"""Of the weights at first; of those that add to the stream it is over the root of how many do, 2 L."""

Table = embedding.Params
Norm = layer_norm.Params | rms_norm.Params
X = Float[Array, "B T C"]


NORM_PARAMS = (layer_norm.Params, rms_norm.Params)


class MLP(NamedTuple):
    """The `dense.Params` of a mlp without gate: up (C, F) and down (F, C)."""

    up: dense.Params
    down: dense.Params


class Block(NamedTuple):
    """A layer; q (C, H D), k and v (C, K D), out (H D, C). In `Params`, each leaf has a leading axis L."""

    norm1: Norm
    q: dense.Params
    k: dense.Params
    v: dense.Params
    out: dense.Params
    norm2: Norm
    mlp: MLP | gated_mlp.Params


class Params(NamedTuple):
    """`positions` is None for rotary ones, `head` for one that is tied to the embedding."""

    embedding: Table
    positions: Table | None
    blocks: Block
    norm: Norm
    head: dense.Params | None


class MLPResiduals(NamedTuple):
    """The input of a mlp without gate, and its hidden features before and behind the activation."""

    m: X
    u: Float[Array, "B T F"]
    a: Float[Array, "B T F"]


class BlockResiduals(NamedTuple):
    """What the ops of a block saved: `n` is the one input of q, k and v, and that of out the output of the
    attention.
    """

    norm1: Any
    n: X
    attention: attention.Residuals
    norm2: Any
    mlp: MLPResiduals | gated_mlp.Residuals


class Products(NamedTuple):
    """The results of a block's products, and its input; `hidden` is u, or g and u of a gated mlp."""

    x: X
    attention: attention.Residuals
    x1: X
    hidden: tuple[Float[Array, "B T F"], ...]


class Residuals(NamedTuple):
    """What the ops around the blocks saved, what the blocks did, on a leading axis, and the key."""

    embedding: Any
    positions: Any
    blocks: BlockResiduals | Products | X
    norm: Any
    head: Any
    key: Key[Array, ""] | None


class Options(NamedTuple):
    """The static options of a block."""

    heads: int
    activation: str | None
    eps: float
    rope_base: float
    rope_scaling: rope.Scaling | None
    dropout: float
    keep: str
    rotary: bool


def init(
    key: Key[Array, ""],
    vocabulary: int,
    *,
    layers: int,
    width: int,
    heads: int,
    key_heads: int | None = None,
    hidden: int | None = None,
    context: int | None = None,
    norm: str = "layer_norm",
    gated: bool = False,
    bias: bool = True,
    tied: bool = True,
    dtype: DTypeLike = jnp.float32,
) -> Params:
    """Random params as GPT-2 has them; `context` is the number of learned positions, None for rotary ones.

    `key_heads` are `heads` unless given, and `hidden`, the features of the mlp, 4 `width`. For Llama's form:
    `norm="rms_norm", gated=True, bias=False, tied=False`.
    """
    asker = "gpt.init"
    checks.choice(asker, "norm", norm, NORMS)
    key_heads = heads if key_heads is None else key_heads
    hidden = 4 * width if hidden is None else hidden
    sizes = {"vocabulary": vocabulary, "layers": layers, "width": width, "heads": heads}
    sizes |= {"key_heads": key_heads, "hidden": hidden}
    sizes |= {} if context is None else {"context": context}
    checks.counts(asker, **sizes)
    expected = f"a number that divides the width {width}"
    checks.option(asker, "heads", heads, width % heads == 0, expected)
    expected = f"a number that divides the {heads} heads"
    checks.option(asker, "key_heads", key_heads, heads % key_heads == 0, expected)
    expected = f"a number that leaves each head of {width} features an even number, for rotary positions"
    even = context is not None or width // heads % 2 == 0
    checks.option(asker, "heads", heads, even, expected)
    keys = iter(jax.random.split(key, 10))
    of_branch = STANDARD_DEVIATION / (2 * layers) ** 0.5

    def normal(*shape: int, std: float = STANDARD_DEVIATION) -> Array:
        return std * jax.random.normal(next(keys), shape, dtype)

    def stacked(i: int, o: int, **of: float) -> dense.Params:
        return dense.Params(normal(layers, i, o, **of), jnp.zeros((layers, o), dtype) if bias else None)

    def gains(*leading: int) -> Any:
        g = jnp.ones((*leading, width), dtype)
        return rms_norm.Params(g) if norm == "rms_norm" else layer_norm.Params(g, 0 * g if bias else None)

    of_keys = width // heads * key_heads
    table = embedding.Params(normal(vocabulary, width))
    positions = None if context is None else embedding.Params(normal(context, width))
    q, k, v = stacked(width, width), stacked(width, of_keys), stacked(width, of_keys)
    out, up = stacked(width, width, std=of_branch), stacked(width, hidden)
    down = stacked(hidden, width, std=of_branch)
    mlp = gated_mlp.Params(stacked(width, hidden), up, down) if gated else MLP(up, down)
    blocks = Block(gains(layers), q, k, v, out, gains(layers), mlp)
    head = None if tied else dense.Params(normal(width, vocabulary), None)
    return Params(table, positions, blocks, gains(), head)


def fwd(
    params: Params,
    ids: Integer[Array, "B T"],
    key: Key[Array, ""] | None = None,
    *,
    heads: int,
    activation: str | None = None,
    eps: float = 1e-5,
    rope_base: float = 10000.0,
    rope_scaling: rope.Scaling | None = None,
    dropout: float = 0.0,
    dtype: DTypeLike | None = None,
    keep: str = "matmuls",
) -> tuple[Float[Array, "B T V"], Residuals]:
    """The logits of the token after each of `ids`, and the residuals.

    `activation` is that of the mlp by its name in `activations`, None for `silu` of a gated one and
    `gelu_tanh` of another; `rope_base` and `rope_scaling` are those of rotary positions; `dtype` is that of
    the activations, None for the params'; `key` draws the dropout.
    """
    options = Options(heads, activation, eps, rope_base, rope_scaling, dropout, keep, is_rotary(params))
    h, res = _trunk_fwd(params, ids, key, options, dtype)
    logits, res_head = dense.fwd(head_of(params), h)  # (10)
    return logits, res._replace(head=res_head)


def bwd(
    params: Params,
    res: Residuals,
    dlogits: Float[Array, "B T V"],
    *,
    heads: int,
    activation: str | None = None,
    eps: float = 1e-5,
    rope_base: float = 10000.0,
    rope_scaling: rope.Scaling | None = None,
    dropout: float = 0.0,
    dtype: DTypeLike | None = None,
    keep: str = "matmuls",
    tap: Tapper = plain,
) -> Params:
    """The cotangent of the params; what another `tap` returns is in place of those of each op.

    What a `tap` makes of a tied head, which is no cotangent, is in the place of the head.
    """
    options = Options(heads, activation, eps, rope_base, rope_scaling, dropout, keep, is_rotary(params))
    kept = "residuals of fwd with the same dropout, which have its key"
    checks.option("gpt", "res", res.key, not dropout or res.key is not None, kept)
    d_head, dh = tap(dense, head_of(params), res.head, dlogits)  # (13)
    return _trunk_bwd(params, res, dh, d_head, options, tap)


def value_and_grad(
    params: Params,
    batch: tuple[Any, ...],
    *,
    heads: int,
    activation: str | None = None,
    eps: float = 1e-5,
    rope_base: float = 10000.0,
    rope_scaling: rope.Scaling | None = None,
    dropout: float = 0.0,
    dtype: DTypeLike | None = None,
    keep: str = "matmuls",
    ignore_label: int | None = None,
    chunk: int | None = None,
    dcost: Float[Array, ""] | float = 1.0,
) -> tuple[Float[Array, ""], Params]:
    """The mean cross-entropy in nats over a batch `(ids, targets[, key])`, and the gradient.

    `targets` (B, T) are the tokens after those of `ids`; those that are `ignore_label` do not count. The
    logits of `chunk` tokens are there at once, None a choice by V. `dcost` is the cotangent of the mean, 1
    for the gradient.
    """
    names = ("ids", "targets", "key")[: 3 if isinstance(batch, tuple | list) and len(batch) == 3 else 2]
    ids, targets, *key = checks.together("gpt", "batch", batch, *names)
    checks.option("gpt", "batch", jnp.shape(ids), jnp.size(ids) > 0, "a token or more")
    options = Options(heads, activation, eps, rope_base, rope_scaling, dropout, keep, is_rotary(params))
    h, res = _trunk_fwd(params, ids, key[0] if key else None, options, dtype)
    head = head_of(params)
    losses, res_head = linear_cross_entropy.fwd(head, h, targets, ignore_label=ignore_label, chunk=chunk)
    counted = jnp.ones(targets.shape, bool) if ignore_label is None else targets != ignore_label
    wide = accumulator(losses.dtype)
    count = jnp.maximum(jnp.sum(counted, dtype=wide), 1)
    cost = jnp.sum(losses, dtype=wide) / count  # (11)
    gradient = linear_cross_entropy.of_sum(head, res_head)
    share = dcost / count  # here, as in bfloat16 all gradients would have the rounding of this one number
    d_head, dh = jax.tree.map(lambda d: (share * d.astype(wide)).astype(d.dtype), gradient)  # (12), (13)
    return cost, _trunk_bwd(params, res, dh, d_head, options, plain)


def residual_bytes(params: Any, ids: Any, **static: Any) -> dict[str, int]:
    """The bytes of what the blocks save, for each `keep`; of arrays or of their `jax.ShapeDtypeStruct`s.

    `static` are the options of `fwd`. Nothing is computed.
    """

    def of_policy(keep: str) -> int:
        key = jax.eval_shape(lambda: jax.random.key(0))
        _, res = jax.eval_shape(lambda p, i, k: fwd(p, i, k, keep=keep, **static), params, ids, key)
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(res.blocks))

    return {keep: of_policy(keep) for keep in KEEP}


def _trunk_fwd(
    params: Params, ids: Array, key: Array | None, options: Options, dtype: DTypeLike | None
) -> tuple[X, Residuals]:
    """The stream behind the last norm, and the residuals of all but the head."""
    check(params, ids, key, options)
    x, res_embedding = embedding.fwd(params.embedding, ids)  # (1)
    res_positions = None
    if params.positions is not None:
        p, res_positions = embedding.fwd(params.positions, _times(ids))
        x = x + p
    x = x.astype(dtype_of(x, dtype))
    first, of_layers = _keys(key, params, options)
    x = _dropped(x, first, options)

    def layer(x: X, given: tuple[Block, Any]) -> tuple[X, Any]:
        block, keys = given
        y, res = block_fwd(block, x, keys, options)
        return y, _saved(res, x, options.keep)

    x, res_blocks = jax.lax.scan(layer, varying_as(x, params), (params.blocks, of_layers))
    h, res_norm = norm_of(params.norm).fwd(params.norm, x, eps=options.eps)  # (9)
    return h, Residuals(res_embedding, res_positions, res_blocks, res_norm, None, key)


def _trunk_bwd(params: Params, res: Residuals, dh: X, d_head: Any, options: Options, tap: Tapper) -> Params:
    """The cotangent of the params, of that of the stream behind the last norm and of the head."""
    d_norm, dx = tap(norm_of(params.norm), params.norm, res.norm, dh, eps=options.eps)  # (14)
    first, of_layers = _keys(res.key, params, options)

    def layer(dy: X, given: tuple[Block, Any, Any]) -> tuple[X, Block]:
        block, keys, saved = given
        return block_bwd(block, _restored(block, saved, keys, options), dy, keys, options, tap)

    start = varying_as(dx, (params, res))
    dx, d_blocks = jax.lax.scan(layer, start, (params.blocks, of_layers, res.blocks), reverse=True)
    dx = _undropped(dx, first, options)
    dx = dx.astype(params.embedding.table.dtype)
    d_positions = None
    if params.positions is not None:
        d_positions = tap(embedding, params.positions, res.positions, dx)
    d_embedding = tap(embedding, params.embedding, res.embedding, dx)  # (21)
    if params.head is None and isinstance(d_head, dense.Params):
        # the table feeds the first layer and the logits
        d_embedding, d_head = embedding.Params(d_embedding.table + d_head.w.T), None
    return Params(d_embedding, d_positions, d_blocks, d_norm, d_head)


def block_fwd(params: Block, x: X, keys: Array | None, options: Options) -> tuple[X, BlockResiduals]:
    """A layer; `keys` are the two of its dropout."""
    n, res_norm1 = norm_of(params.norm1).fwd(params.norm1, x, eps=options.eps)  # (2)
    q, k, v = queries_keys_values(params, n, None, options)
    o, res_attention = attention.fwd(q, k, v, causal=True)  # (5)
    a, _ = dense.fwd(params.out, merge_axes(o, 2))
    x1 = x + _dropped(a, keys, options, 0)  # (6)
    m, res_norm2 = norm_of(params.norm2).fwd(params.norm2, x1, eps=options.eps)  # (7)
    b, res_mlp = mlp_fwd(params.mlp, m, options)
    y = x1 + _dropped(b, keys, options, 1)  # (8)
    return y, BlockResiduals(res_norm1, n, res_attention, res_norm2, res_mlp)


def block_bwd(
    params: Block, res: BlockResiduals, dy: X, keys: Array | None, options: Options, tap: Tapper
) -> tuple[X, Block]:
    """The cotangents of a layer's input and of its params."""
    db = _undropped(dy, keys, options, 1)
    d_mlp, dm = _mlp_bwd(params.mlp, res.mlp, db, options, tap)  # (15)
    d_norm2, dx1 = tap(norm_of(params.norm2), params.norm2, res.norm2, dm, eps=options.eps)
    dx1 = dy + dx1  # (16): x' feeds the mlp and the stream
    da = _undropped(dx1, keys, options, 0)
    d_out, do = tap(dense, params.out, merge_axes(res.attention.o, 2), da)  # (17)
    dq, dk, dv = attention.bwd(res.attention, split_axis(do, 2, options.heads), causal=True)
    if options.rotary:
        times = jnp.arange(dq.shape[1], dtype=jnp.int32)
        dq, dk = (
            rope.bwd(times, d, base=options.rope_base, scaling=options.rope_scaling) for d in (dq, dk)
        )  # (18)
    d_v, dn_v = tap(dense, params.v, res.n, merge_axes(dv, 2))
    d_k, dn_k = tap(dense, params.k, res.n, merge_axes(dk, 2))
    d_q, dn_q = tap(dense, params.q, res.n, merge_axes(dq, 2))
    dn = dn_q + dn_k + dn_v  # (19): n feeds the queries, the keys and the values
    d_norm1, dx = tap(norm_of(params.norm1), params.norm1, res.norm1, dn, eps=options.eps)
    dx = dx1 + dx  # (20): x feeds the attention and the stream
    return dx, Block(d_norm1, d_q, d_k, d_v, d_out, d_norm2, d_mlp)


def queries_keys_values(
    params: Block, n: X, times: Integer[Array, "T"] | None, options: Options
) -> tuple[Float[Array, "B T H D"], Float[Array, "B T K D"], Float[Array, "B T K D"]]:
    """Those of a layer by head, at positions 0, 1, ... unless `times` are others."""
    q, _ = dense.fwd(params.q, n)  # (3)
    k, _ = dense.fwd(params.k, n)
    v, _ = dense.fwd(params.v, n)
    width = q.shape[2] // options.heads
    q, k, v = (split_axis(y, 2, y.shape[2] // width) for y in (q, k, v))
    if options.rotary:
        (q, _), (k, _) = (
            rope.fwd(y, times, base=options.rope_base, scaling=options.rope_scaling) for y in (q, k)
        )  # (4)
    return q, k, v


def mlp_fwd(params: MLP | gated_mlp.Params, m: X, options: Options) -> tuple[X, Any]:
    """The branch of (8) before its dropout."""
    f = activation_of(params, options.activation)
    if isinstance(params, gated_mlp.Params):
        return gated_mlp.fwd(params, m, activation=f)
    u, _ = dense.fwd(params.up, m)
    a, _ = activations.MEMBERS[f].fwd(u)
    b, _ = dense.fwd(params.down, a)
    return b, MLPResiduals(m, u, a)


def _mlp_bwd(params: MLP | gated_mlp.Params, res: Any, db: X, options: Options, tap: Tapper) -> tuple[Any, X]:
    f = activation_of(params, options.activation)
    if isinstance(params, gated_mlp.Params):
        return tap(gated_mlp, params, res, db, activation=f)
    d_down, da = tap(dense, params.down, res.a, db)
    _, saved = activations.MEMBERS[f].fwd(res.u)
    du = activations.MEMBERS[f].bwd(saved, da)
    d_up, dm = tap(dense, params.up, res.m, du)
    return MLP(d_up, d_down), dm


def _saved(res: BlockResiduals, x: X, keep: str) -> BlockResiduals | Products | X:
    """What is kept of a layer's residuals; x is its input."""
    if keep == "inputs":
        return x
    if keep == "matmuls":
        hidden = (res.mlp.u,) if isinstance(res.mlp, MLPResiduals) else (res.mlp.g, res.mlp.u)
        return Products(x, res.attention, res.norm2.x, hidden)
    return res


def _restored(params: Block, saved: Any, keys: Array | None, options: Options) -> BlockResiduals:
    """A layer's residuals, of what is kept of them: what is not used of the forward pass XLA leaves out."""
    if options.keep == "inputs":
        return block_fwd(params, saved, keys, options)[1]
    if options.keep == "matmuls":
        x, of_attention, x1, hidden = saved
        n, res_norm1 = norm_of(params.norm1).fwd(params.norm1, x, eps=options.eps)
        m, res_norm2 = norm_of(params.norm2).fwd(params.norm2, x1, eps=options.eps)
        if isinstance(params.mlp, gated_mlp.Params):
            g, u = hidden
            res_mlp = gated_mlp.Residuals(m, g, u)
        else:
            (u,) = hidden
            a, _ = activations.MEMBERS[activation_of(params.mlp, options.activation)].fwd(u)
            res_mlp = MLPResiduals(m, u, a)
        return BlockResiduals(res_norm1, n, of_attention, res_norm2, res_mlp)
    return saved


def norm_of(params: Norm) -> ModuleType:
    """The op of a norm's params."""
    return rms_norm if isinstance(params, rms_norm.Params) else layer_norm


def activation_of(params: MLP | gated_mlp.Params, asked: str | None) -> str:
    """The name of a mlp's activation: the usual one of its kind unless another is asked for."""
    usual = "silu" if isinstance(params, gated_mlp.Params) else "gelu_tanh"
    return usual if asked is None else asked


def is_rotary(params: Params) -> bool:
    """Whether there is no table of positions; raise for params of another kind."""
    checks.params("gpt", params, Params)
    return params.positions is None


def dtype_of(x: Array, asked: DTypeLike | None) -> DTypeLike:
    """That of the activations."""
    floating = asked is None or jnp.issubdtype(asked, jnp.floating)
    checks.option("gpt", "dtype", asked, floating, "a floating point dtype, or None for that of the params")
    return x.dtype if asked is None else asked


def head_of(params: Params) -> dense.Params:
    """The map to the logits: the table, if it is tied."""
    return dense.Params(params.embedding.table.T, None) if params.head is None else params.head


def _times(ids: Integer[Array, "B T"]) -> Integer[Array, "B T"]:
    """The position of each token, laid out as the tokens are."""
    return jnp.zeros_like(ids, jnp.int32) + jnp.arange(ids.shape[1], dtype=jnp.int32)[None]


def _keys(key: Array | None, params: Params, options: Options) -> tuple[Array | None, Array | None]:
    """The key of the embedding's dropout, and (L, 2) those of the layers'; without dropout there are none."""
    if options.dropout == 0:
        return None, None
    assert key is not None, "it is checked"
    layers = len(params.blocks.norm1.g)
    keys = jax.random.split(key, 1 + 2 * layers)
    return keys[0], jnp.reshape(keys[1:], (layers, 2))


def _dropped(x: X, keys: Array | None, options: Options, place: int | None = None) -> X:
    """The dropout of `x` with the key at a place of `keys`, if there is any."""
    return (
        x if keys is None else dropout.fwd(x, keys if place is None else keys[place], rate=options.dropout)[0]
    )


def _undropped(dx: X, keys: Array | None, options: Options, place: int | None = None) -> X:
    """Its backward pass."""
    return (
        dx if keys is None else dropout.bwd(keys if place is None else keys[place], dx, rate=options.dropout)
    )


def check(params: Params, ids: Array, key: Any, options: Options) -> None:
    """Raise for what no op of the model would tell, or not in its terms."""
    for name, of in (("norm1", NORM_PARAMS), ("norm2", NORM_PARAMS), ("mlp", (MLP, gated_mlp.Params))):
        value = getattr(params.blocks, name)
        if not isinstance(value, of):
            expected = " or ".join(f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}" for kind in of)
            found = type(value).__name__
            raise TypeError(f"gpt: params.blocks.{name} is a {found}; expected {expected}")
    checks.integers("gpt", ids=ids)
    if ids.ndim != 2:
        raise ValueError(f"gpt: ids has shape {ids.shape}; expected two axes (batch, time)")
    if params.positions is not None and ids.shape[1] > len(params.positions.table):
        raise ValueError(
            f"gpt: ids has shape {ids.shape}; expected at most {len(params.positions.table)} tokens, as many "
            "as params.positions has"
        )
    heads, widths = options.heads, {name: getattr(params.blocks, name).w.shape[-1] for name in ("q", "k")}
    checks.counts("gpt", heads=heads)
    expected = f"a number that divides {widths['q']}, the width of params.blocks.q.w"
    checks.option("gpt", "heads", heads, widths["q"] % heads == 0, expected)
    width = widths["q"] // heads
    if widths["k"] % width or heads % max(1, widths["k"] // width):
        raise ValueError(
            f"gpt: params.blocks.k.w has {widths['k']} features; expected {width} for each of some heads "
            f"whose number divides the {heads} heads of the queries"
        )
    checks.choice("gpt", "keep", options.keep, KEEP)
    checks.choice(
        "gpt", "activation", activation_of(params.blocks.mlp, options.activation), activations.MEMBERS
    )
    checks.number("gpt", "dropout", options.dropout, lambda r: 0 <= r <= 1, "a number in 0..1")
    if options.rotary:
        checks.number("gpt", "rope_base", options.rope_base, lambda b: 0 < b < inf, "a positive number")
    if options.dropout:
        expected = f"one key of jax.random.key, as dropout is {options.dropout}"
        checks.option("gpt", "key", key, dropout.is_key(key), expected)
