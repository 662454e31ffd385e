r"""The decoder of `models.gpt` over a mesh: examples, features and time.   Axes: B batch, T time, C width, H
heads of D features, K heads of the keys, F hidden features, V vocabulary; s numbers the devices along
`model`, of which each has H/n heads, K/n heads of the keys, F/n hidden features and V/n rows.

    n    = norm_1(x)                                                (1)
    h    = enter(n)                                                 (2)
    q, k, v = h W_q^s, h W_k^s, h W_v^s + biases,    turned by rope (3)
    o    = ring_attention(q, k, v), causal                          (4)
    x'   = x + leave(o W_o^s) + b_o                                 (5)
    g    = enter(norm_2(x'))                                        (6)
    y    = x' + leave(f(g W_up^s + b^s) W_down^s) + b_down          (7)

    enter, leave: copy and all_reduce over `model`; with `split_norms`, all_gather and reduce_scatter of time

    da   = leave^T dy                                               (8)
    dW_down, dW_up, dg = the backward of the products of (7)        (9)
    dx'  = dy + the backward of norm_2 for enter^T dg               (10)
    dW_o, do = the backward of (5) for leave^T dx'                  (11)
    dq, dk, dv = the backward of (4) for do, turned back            (12)
    dh   = dq W_q^sT + dk W_k^sT + dv W_v^sT,    one sum for the three      (13)
    dx   = dx' + the backward of norm_1 for enter^T dh              (14)

`fwd` and `bwd` are a block, `value_and_grad` the model. Four sums a block over `model`: (5), (7), (10), (14).
With `split_norms` the stream between them is in parts of time over `model` too, and so are norms and skips:
of as many bytes, and 1/n of the memory.

Saved, as by `models.gpt`, with keep="matmuls": x, x', q, k, v, o and the hidden features; the norms, (2) and
(6) are made again in the backward. With keep="inputs": x; (1) to (6) are made again, with their collectives
and the product before the activation, which in FSDP needs no params more than the backward gathers.

An axis that is None is one device: then this is the block of `models.gpt`, without dropout. `sequence` has T
in parts, in one of the orders of `sequence`; `data` has B. The sums over both that the cotangents of params
lack, and where norms are split that over `model`, `value_and_grad` does once for all layers.

With a `layout` the params are in parts over `data`, as `fsdp` has them: a block's are gathered before (1) and
again before (8), and their gradient is summed and split behind (14). Table, positions, last norm and head are
gathered once, and their gradient is split at the end.

Shoeybi et al. 2019, arXiv:1909.08053; Korthikanti et al. 2022, arXiv:2205.05198 (`split_norms`).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, DTypeLike, Float, Integer

from manual_bp import checks
from manual_bp.models.gpt import MLP, Block, Params, activation_of, head_of, norm_of
from manual_bp.ops import activations, dense, embedding, gated_mlp, rope
from manual_bp.parallel import axes, collectives, data, fsdp, sequence, tensor
from manual_bp.precision import accumulator
from manual_bp.sharding import merge_axes, split_axis

X = Float[Array, "B T C"]

KEEP = ("matmuls", "inputs")
"""What a block saves, by name: the results of its products, its input."""


class Residuals(NamedTuple):
    """The results of a block's products, and what its norms are made again of."""

    x: X
    attention: sequence.Residuals
    x1: X
    hidden: tuple[Float[Array, "B T F"], ...]


class _Options(NamedTuple):
    """The static options of a block."""

    heads: int
    activation: str | None
    eps: float
    rope_base: float | None
    model: str | None
    sequence: str | None
    order: str
    split_norms: bool
    keep: str

    @property
    def entry(self) -> tuple[collectives.Collective, dict[str, Any]]:
        """How the stream enters the products in parts."""
        if self.split_norms:
            return collectives.all_gather, {"axis": self.model, "dim": 1}
        return collectives.copy, {"axis": self.model}

    @property
    def exit(self) -> tuple[collectives.Collective, dict[str, Any]]:
        """How it leaves them."""
        if self.split_norms:
            return collectives.reduce_scatter, {"axis": self.model, "dim": 1}
        return collectives.all_reduce, {"axis": self.model}


def fwd(
    params: Block,
    x: X,
    *,
    heads: int,
    activation: str | None = None,
    eps: float = 1e-5,
    rope_base: float | None = 10000.0,
    model: str | None = None,
    sequence: str | None = None,
    order: str = "contiguous",
    split_norms: bool = False,
    keep: str = "matmuls",
) -> tuple[X, Residuals | X]:
    """A block's output for this device's part of the stream; `params` are its parts, as `specs` has them.

    `heads` are those of all devices, `rope_base` is None where positions are learned.
    """
    o = _Options(heads, activation, eps, rope_base, model, sequence, order, split_norms, keep)
    _check(params, x, o)
    y, res = _forward(params, x, o)
    return y, x if keep == "inputs" else res


def _forward(params: Block, x: X, o: _Options) -> tuple[X, Residuals]:
    n, _ = norm_of(params.norm1).fwd(params.norm1, x, eps=o.eps)  # (1)
    h = _entered(n, o)  # (2)
    attended, res_attention = _attended(params, h, o)
    x1 = x + _left(params.out, merge_axes(attended, 2), o)  # (5)
    m, _ = norm_of(params.norm2).fwd(params.norm2, x1, eps=o.eps)
    g = _entered(m, o)  # (6)
    f = _activation(params, o)
    if isinstance(params.mlp, gated_mlp.Params):
        hidden = (dense.fwd(params.mlp.gate, g)[0], dense.fwd(params.mlp.up, g)[0])
        a = f.fwd(hidden[0])[0] * hidden[1]
    else:
        hidden = (dense.fwd(params.mlp.up, g)[0],)
        a = f.fwd(hidden[0])[0]
    y = x1 + _left(params.mlp.down, a, o)  # (7)
    return y, Residuals(x, res_attention, x1, hidden)


def _restored(params: Block, saved: Any, o: _Options) -> Residuals:
    """What is kept with the products, made again where only the input is: XLA leaves out (7)."""
    return _forward(params, saved, o)[1] if o.keep == "inputs" else saved


def bwd(
    params: Block,
    res: Residuals | X,
    dy: X,
    *,
    heads: int,
    activation: str | None = None,
    eps: float = 1e-5,
    rope_base: float | None = 10000.0,
    model: str | None = None,
    sequence: str | None = None,
    order: str = "contiguous",
    split_norms: bool = False,
    keep: str = "matmuls",
) -> tuple[Block, X]:
    """The cotangents of a block's params, which are shares of the sums that are still missing, and of `x`."""
    o = _Options(heads, activation, eps, rope_base, model, sequence, order, split_norms, keep)
    res = _restored(params, res, o)
    m, res_norm2 = norm_of(params.norm2).fwd(params.norm2, res.x1, eps=eps)
    d_mlp, dg = _mlp_bwd(params, m, res.hidden, dy, o)  # (8), (9)
    d_norm2, dx1 = norm_of(params.norm2).bwd(params.norm2, res_norm2, _unentered(dg, o), eps=eps)
    dx1 = dy + dx1  # (10): x' feeds the mlp and the stream
    d_out, d_attended = _left_bwd(params.out, merge_axes(res.attention.o, 2), dx1, o)  # (11)
    dq, dk, dv = _attended_bwd(res, d_attended, o)
    n, res_norm1 = norm_of(params.norm1).fwd(params.norm1, res.x, eps=eps)
    h = _entered(n, o)
    d_v, dh_v = dense.bwd(params.v, h, merge_axes(dv, 2))
    d_k, dh_k = dense.bwd(params.k, h, merge_axes(dk, 2))
    d_q, dh_q = dense.bwd(params.q, h, merge_axes(dq, 2))
    dn = _unentered(dh_q + dh_k + dh_v, o)  # (13): h feeds the queries, the keys and the values
    d_norm1, dx = norm_of(params.norm1).bwd(params.norm1, res_norm1, dn, eps=eps)
    dx = dx1 + dx  # (14): x feeds the attention and the stream
    return Block(d_norm1, d_q, d_k, d_v, d_out, d_norm2, d_mlp), dx


def value_and_grad(
    params: Params,
    batch: tuple[Integer[Array, "B T"], Integer[Array, "B T"]],
    *,
    heads: int,
    activation: str | None = None,
    eps: float = 1e-5,
    rope_base: float = 10000.0,
    ignore_label: int | None = None,
    data: str | None = None,
    model: str | None = None,
    sequence: str | None = None,
    order: str = "contiguous",
    split_norms: bool = False,
    split_vocabulary: bool = True,
    layout: Any = None,
    keep: str = "matmuls",
    dtype: DTypeLike | None = None,
    dcost: Float[Array, ""] | float = 1.0,
) -> tuple[Float[Array, ""], Params]:
    """The mean cross-entropy over the batches `(ids, targets)` of all devices, and its gradient.

    It is that of `models.gpt.value_and_grad` on one device for all of them. With order="balanced" both are in
    the order of `sequence.balanced`. Without `split_vocabulary` each device along `model` has all rows of the
    table and all logits, so that their number need not divide. `layout` is what the function of that
    name has for params in parts over `data`. `dtype` is that of the activations, None for the params';
    `dcost` the cotangent of the mean.
    """
    ids, targets = checks.together("parallel.gpt", "batch", batch, "ids", "targets")
    _check_model(data, model, split_norms, split_vocabulary, layout)
    rows = model if split_vocabulary else None
    is_rotary = params.positions is None
    static: dict[str, Any] = {
        "heads": heads, "activation": activation, "eps": eps, "rope_base": rope_base if is_rotary else None,
        "model": model, "sequence": sequence, "order": order, "split_norms": split_norms, "keep": keep,
    }  # fmt: skip
    o = _Options(**static)
    checks.params("parallel.gpt", params, Params)
    axes.check("parallel.gpt", data, "data")
    times = _times(ids.shape[1], o)

    over = None if layout is None else data
    dims = _all_whole(params) if layout is None else layout
    outer_dims = dims._replace(blocks=None)
    outer = fsdp.gather(params._replace(blocks=None), outer_dims, axis=over)

    x, res_embedding = tensor.embedding.fwd(outer.embedding, ids, axis=rows)
    x = _own_times(x, o)
    if outer.positions is not None:
        p, _ = embedding.fwd(outer.positions, times)
        x = x + jnp.broadcast_to(p[None], x.shape)
    x = x.astype(x.dtype if dtype is None else dtype)

    def layer(x: X, block: Block) -> tuple[X, Any]:
        return fwd(fsdp.gather(block, dims.blocks, axis=over), x, **static)

    x, res_blocks = lax.scan(layer, x, params.blocks)
    h, res_norm = norm_of(outer.norm).fwd(outer.norm, x, eps=eps)
    h = _entered(h, o) if split_vocabulary else h
    head = head_of(outer)
    logits, _ = dense.fwd(head, h)
    losses, res_loss = tensor.softmax_cross_entropy.fwd(logits, targets, axis=rows, ignore_label=ignore_label)

    shards = axes.names(data) + axes.names(sequence)
    counted = jnp.ones_like(targets, bool) if ignore_label is None else targets != ignore_label
    wide = accumulator(losses.dtype)
    sums = jnp.stack([jnp.sum(losses, dtype=wide), jnp.sum(counted, dtype=wide)])
    total, count = collectives.all_reduce.fwd(sums, axis=shards)[0]  # the mean's 1/N is one for all shards
    count = jnp.maximum(count, 1)

    dlogits = tensor.softmax_cross_entropy.bwd(
        res_loss, jnp.ones_like(losses), axis=rows, ignore_label=ignore_label
    )
    share = dcost / count  # here, as in bfloat16 all gradients would have the rounding of this one number
    dlogits = (share * dlogits.astype(wide)).astype(dlogits.dtype)
    d_head, dh = dense.bwd(head, h, dlogits)
    dh = _unentered(dh, o) if split_vocabulary else dh
    d_norm, dx = norm_of(outer.norm).bwd(outer.norm, res_norm, dh, eps=eps)

    def layer_bwd(dy: X, given: tuple[Block, Any]) -> tuple[X, Block]:
        block, res = given
        d_block, dx = bwd(fsdp.gather(block, dims.blocks, axis=over), res, dy, **static)
        return dx, fsdp.scatter(d_block, dims.blocks, axis=over)

    dx, d_blocks = lax.scan(layer_bwd, dx, (params.blocks, res_blocks), reverse=True)
    dx = dx.astype(outer.embedding.table.dtype)
    d_positions = None
    if outer.positions is not None:
        d_positions = embedding.bwd(outer.positions, times, jnp.sum(dx, 0))
    d_embedding = tensor.embedding.bwd(outer.embedding, res_embedding, _all_times(dx, o), axis=rows)
    if outer.head is None:  # the table feeds the first layer and the logits
        d_embedding, d_head = embedding.Params(d_embedding.table + d_head.w.T), None
    grads = Params(d_embedding, d_positions, d_blocks, d_norm, d_head)
    around = fsdp.scatter(grads._replace(blocks=None), outer_dims, axis=over)
    missing = shards if over is None else axes.names(sequence)  # what is in parts is summed over `data`
    return total / count, _summed(around._replace(blocks=d_blocks), missing, o)


def specs(
    params: Params, *, heads: int, model: str | None = None, size: int = 1, split_vocabulary: bool = True
) -> Any:
    """How the params lie on the mesh, over the axis `model` of a size; raise where they do not divide."""
    blocks = params.blocks
    lengths = {
        "heads": heads,
        "key_heads": blocks.k.w.shape[-1] * heads // blocks.q.w.shape[-1],
        "hidden": blocks.mlp.up.w.shape[-1],
        "vocabulary": params.embedding.table.shape[0] if split_vocabulary else size,
    }
    for name, length in lengths.items():
        if length % size:
            raise ValueError(
                f"parallel.gpt: {name} is {length}; expected it to divide by {size}, the size of mesh axis "
                f"{model!r}"
            )

    def column(of: dense.Params) -> Any:
        return of._replace(w=P(None, None, model), b=None if of.b is None else P(None, model))

    def row(of: dense.Params) -> Any:
        return of._replace(w=P(None, model), b=None if of.b is None else P())

    def whole(tree: Any) -> Any:
        return jax.tree.map(lambda _: P(), tree)

    mlp: Any = jax.tree.map(column, blocks.mlp, is_leaf=lambda x: isinstance(x, dense.Params))
    mlp = mlp._replace(down=row(blocks.mlp.down))
    of_blocks = Block(
        whole(blocks.norm1), column(blocks.q), column(blocks.k), column(blocks.v), row(blocks.out),
        whole(blocks.norm2), mlp,
    )  # fmt: skip
    table: Any = P(model) if split_vocabulary else P()
    last: Any = P(None, model) if split_vocabulary else P()
    head = None if params.head is None else dense.Params(last, None)
    return Params(embedding.Params(table), whole(params.positions), of_blocks, whole(params.norm), head)


def layout(params: Params, size: int) -> Params:
    """That of `fsdp`, for `params` in parts over so many devices; of the blocks it is that of one."""
    of_block = jax.eval_shape(lambda blocks: jax.tree.map(lambda w: w[0], blocks), params.blocks)
    return fsdp.layout(params._replace(blocks=of_block), size)


def layout_specs(layout: Params, axis: str) -> Any:
    """How params in parts lie on the mesh, for `jax.shard_map`."""
    blocks = fsdp.specs(layout.blocks, axis, stacked=True)
    return fsdp.specs(layout._replace(blocks=None), axis)._replace(blocks=blocks)


def _attended(params: Block, h: X, o: _Options) -> tuple[Float[Array, "B T H D"], sequence.Residuals]:
    """(3) and (4)."""
    heads = o.heads // axes.size(o.model)
    q, k, v = (dense.fwd(p, h)[0] for p in (params.q, params.k, params.v))
    width = q.shape[2] // heads
    q, k, v = (split_axis(y, 2, y.shape[2] // width) for y in (q, k, v))
    if o.rope_base is not None:
        times = sequence.times(h.shape[1], axis=o.sequence, order=o.order)
        q, k = (rope.fwd(y, times, base=o.rope_base)[0] for y in (q, k))
    return sequence.ring_attention.fwd(q, k, v, axis=o.sequence, causal=True, order=o.order)


def _attended_bwd(res: Residuals, d: Float[Array, "B T C"], o: _Options) -> tuple[Array, Array, Array]:
    """(12)."""
    d = split_axis(d, 2, o.heads // axes.size(o.model))
    options: dict[str, Any] = {"axis": o.sequence, "causal": True, "order": o.order}
    dq, dk, dv = sequence.ring_attention.bwd(res.attention, d, **options)
    if o.rope_base is not None:
        times = sequence.times(d.shape[1], axis=o.sequence, order=o.order)
        dq, dk = (rope.bwd(times, x, base=o.rope_base) for x in (dq, dk))
    return dq, dk, dv


def _mlp_bwd(
    params: Block, m: X, hidden: tuple[Float[Array, "B T F"], ...], dy: X, o: _Options
) -> tuple[Any, X]:
    """(8) and (9)."""
    f, g = _activation(params, o), _entered(m, o)
    a, saved = f.fwd(hidden[0])
    if isinstance(params.mlp, gated_mlp.Params):
        u = hidden[1]
        d_down, da = _left_bwd(params.mlp.down, a * u, dy, o)
        d_up, dg_up = dense.bwd(params.mlp.up, g, a * da)
        d_gate, dg_gate = dense.bwd(params.mlp.gate, g, f.bwd(saved, u * da))
        return gated_mlp.Params(d_gate, d_up, d_down), dg_up + dg_gate  # g feeds both
    d_down, da = _left_bwd(params.mlp.down, a, dy, o)
    d_up, dg = dense.bwd(params.mlp.up, g, f.bwd(saved, da))
    return MLP(d_up, d_down), dg


def _entered(n: X, o: _Options) -> X:
    pair, options = o.entry
    return pair.fwd(n, **options)[0]


def _unentered(dh: X, o: _Options) -> X:
    pair, options = o.entry
    return pair.bwd(None, dh, **options)


def _left(params: dense.Params, a: Float[Array, "B T F"], o: _Options) -> X:
    """The product of a row, summed over the devices, and its bias once."""
    pair, options = o.exit
    y, _ = pair.fwd(dense.fwd(params._replace(b=None), a)[0], **options)
    return y if params.b is None else y + jnp.broadcast_to(params.b.astype(y.dtype), y.shape)


def _left_bwd(
    params: dense.Params, a: Float[Array, "B T F"], dy: X, o: _Options
) -> tuple[dense.Params, Float[Array, "B T F"]]:
    pair, options = o.exit
    d_params, da = dense.bwd(params._replace(b=None), a, pair.bwd(None, dy, **options))
    if params.b is None:
        return d_params, da
    db = jnp.sum(dy, (0, 1), dtype=accumulator(dy.dtype)).astype(params.b.dtype)
    return d_params._replace(b=db), da


def _summed(grads: Any, shards: tuple[str, ...], o: _Options) -> Any:
    """The gradient summed over shards, and with split norms over `model` where each has a share."""
    if not o.split_norms or o.model is None:
        return data.all_reduce(grads, axis=shards)
    blocks = grads.blocks
    down = blocks.mlp.down
    alike = (blocks.norm1, blocks.norm2, blocks.out.b, down.b, grads.norm, grads.positions)
    norm1, norm2, out_b, down_b, norm, positions = data.all_reduce(alike, axis=(*shards, o.model))
    split = grads._replace(
        blocks=blocks._replace(
            norm1=None, norm2=None, out=blocks.out._replace(b=None),
            mlp=blocks.mlp._replace(down=down._replace(b=None)),
        ),
        norm=None, positions=None,
    )  # fmt: skip
    split = data.all_reduce(split, axis=shards)
    of_blocks = split.blocks
    mlp = of_blocks.mlp._replace(down=of_blocks.mlp.down._replace(b=down_b))
    of_blocks = of_blocks._replace(norm1=norm1, norm2=norm2, out=of_blocks.out._replace(b=out_b), mlp=mlp)
    return split._replace(blocks=of_blocks, norm=norm, positions=positions)


def _all_whole(params: Params) -> Params:
    """The layout of params of which no leaf is in parts."""
    return jax.tree.map(lambda _: None, params)


def _times(count: int, o: _Options) -> Integer[Array, "T"]:
    """The times of the stream that this device has."""
    times = sequence.times(count, axis=o.sequence, order=o.order)
    return _own_times(times[None], o)[0]


def _own_times(x: Array, o: _Options) -> Array:
    """With split norms, this device's part of time along `model`, of what all have."""
    if not o.split_norms:
        return x
    count = axes.divisible("parallel.gpt", f"there are {x.shape[1]} times here", x.shape[1], o.model)
    return lax.dynamic_slice_in_dim(x, axes.index(o.model) * count, count, 1)


def _all_times(dx: X, o: _Options) -> X:
    """The transpose of that: all have all parts."""
    return collectives.all_gather.fwd(dx, axis=o.model, dim=1)[0] if o.split_norms else dx


def _activation(params: Block, o: _Options) -> activations.Activation:
    name = activation_of(params.mlp, o.activation)
    checks.choice("parallel.gpt", "activation", name, activations.MEMBERS)
    return activations.MEMBERS[name]


def _check_model(
    data: str | None, model: str | None, split_norms: bool, split_vocabulary: bool, layout: Any
) -> None:
    op = "parallel.gpt"
    if layout is not None and (data is None or model is not None):
        raise ValueError(f"{op}: data was {data!r} and model {model!r}; with a layout the params are in "
                         "parts over data, expected its name and no model")  # fmt: skip
    if model is not None and split_norms and not split_vocabulary:
        raise ValueError(f"{op}: split_vocabulary was False; expected True with split_norms, whose head "
                         "sums its cotangents over model")  # fmt: skip


def _check(params: Block, x: X, o: _Options) -> None:
    op = "parallel.gpt"
    axes.check(op, o.model, "model")
    axes.check(op, o.sequence, "sequence")
    checks.choice(op, "keep", o.keep, KEEP)
    checks.params(op, params, Block)
    if x.ndim != 3:
        raise ValueError(f"{op}: x has shape {x.shape}; expected three axes (batch, time, features)")
    axes.divisible(op, f"heads is {o.heads}", o.heads, o.model)
    heads = o.heads // axes.size(o.model)
    width = params.q.w.shape[-1] // heads if heads else 0
    if not width or params.q.w.shape[-1] % heads or params.k.w.shape[-1] % width:
        raise ValueError(
            f"{op}: params.q.w and params.k.w have {params.q.w.shape[-1]} and {params.k.w.shape[-1]} "
            f"features here; expected those of {heads} heads, and of heads of keys as wide"
        )
