"""The rows of the benchmark in PyTorch, where it is installed: eager, and what takes long compiled too."""

import importlib
import importlib.util
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from experiments.benchmark.rows.models import LEARNING_RATE
from experiments.benchmark.rows.row import Row

torch: Any = importlib.import_module("torch") if importlib.util.find_spec("torch") else None

COMPILED = ("attention", "linear_cross_entropy", "gpt")
"""How the names begin of the rows that `torch.compile` has too: it takes up to a minute for each."""

COMPILERS = ("g++", "clang++")
"""What `torch.compile` needs one of."""


def calls(name: str, row: Row) -> dict[str, Callable[[], Any]]:
    """Functions that compute once what the row `name` does, eager and compiled; none without PyTorch."""
    if torch is None:
        return {}
    if name.startswith("mlp."):
        return {"eager": _training(*row.args)}
    if name.startswith("gpt."):
        forward, step = partial(_decoder_loss, heads=row.static["heads"]), _decoder_step
    elif name in (forwards := _forwards(row.static)):
        forward, step = forwards[name], _forward_and_backward
    else:
        return {}
    found = {"eager": step(forward, *row.args)}
    if name.startswith(COMPILED) and any(map(shutil.which, COMPILERS)):
        found["compiled"] = step(torch.compile(forward), *row.args)
    return found


def _forward_and_backward(
    forward: Callable[..., Any], args: tuple[Any, ...], d_output: Any
) -> Callable[[], Any]:
    """Output and cotangents, in the order of the row's own."""
    tensors = [_tensor(leaf) for leaf in jax.tree.leaves(args)]
    leaves = [t.requires_grad_() for t in tensors if t.is_floating_point()]
    d_outputs = [_tensor(leaf) for leaf in jax.tree.leaves(d_output)]

    def compute() -> Any:
        found = forward(*tensors)
        outputs = found if isinstance(found, tuple) else (found,)
        used = [i for i, y in enumerate(outputs) if y.requires_grad]
        given = [d_outputs[i].expand_as(outputs[i]) for i in used]
        cotangents = torch.autograd.grad([outputs[i] for i in used], leaves, given)
        return [y.detach() for y in outputs], cotangents

    return compute


def _training(params: Any, batches: tuple[jax.Array, jax.Array]) -> Callable[[], Any]:
    """Steps of plain SGD, one on each batch, and the params and losses that come of them."""
    initial = [_tensor(leaf) for leaf in jax.tree.leaves(params)]
    x, labels = _tensor(batches[0]), _tensor(batches[1]).long()

    def compute() -> Any:
        leaves = [t.clone().requires_grad_() for t in initial]
        losses = []
        for features, targets in zip(x, labels, strict=True):
            loss = torch.nn.functional.cross_entropy(_logits(leaves, features), targets)
            grads = torch.autograd.grad(loss, leaves)
            with torch.no_grad():
                for leaf, grad in zip(leaves, grads, strict=True):
                    leaf.sub_(grad, alpha=LEARNING_RATE)
            losses.append(loss.detach())
        return [leaf.detach() for leaf in leaves], torch.stack(losses)

    return compute


def _logits(leaves: Sequence[Any], x: Any) -> Any:
    """The network whose weights and biases alternate in `leaves`."""
    *hidden, last = zip(leaves[::2], leaves[1::2], strict=True)
    for w, b in hidden:
        x = torch.relu(torch.addmm(b, x, w))
    w, b = last
    return torch.addmm(b, x, w)


def _decoder_step(forward: Callable[..., Any], params: Any, batch: Any) -> Callable[[], Any]:
    """A step of plain SGD, whose params are written to memory that is there, and the loss.

    The leaves of each layer are tensors of their own, as PyTorch has them: views of the stacked ones.
    """
    stacked = jax.tree.map(_tensor, params)
    updated = jax.tree.map(torch.empty_like, stacked)
    ids, targets = (_tensor(x).long() for x in batch)

    def by_layer(params: Any) -> tuple[Any, list[Any]]:
        layers = range(len(params.blocks.q.w))
        return params._replace(blocks=()), [jax.tree.map(lambda x, i=i: x[i], params.blocks) for i in layers]

    around, blocks = jax.tree.map(lambda x: x.detach().requires_grad_(), by_layer(stacked))
    given, made = jax.tree.leaves((around, blocks)), jax.tree.leaves(by_layer(updated))

    def compute() -> Any:
        loss = forward(around, blocks, ids, targets)
        grads = torch.autograd.grad(loss, given)
        with torch.no_grad():
            for old, grad, new in zip(given, grads, made, strict=True):
                torch.sub(old, grad, alpha=LEARNING_RATE, out=new)
        return updated, loss.detach()

    return compute


def _decoder_loss(params: Any, blocks: Sequence[Any], ids: Any, targets: Any, *, heads: int) -> Any:
    """The mean loss of the decoder of `rows.gpt`."""
    f = torch.nn.functional

    def norm(x: Any, of: Any) -> Any:
        return f.layer_norm(x, of.g.shape, of.g)

    table = params.embedding.table
    x = f.embedding(ids, table) + params.positions.table[: ids.shape[1]]
    for block in blocks:
        n = norm(x, block.norm1)
        q, k, v = ((n @ p.w).unflatten(-1, (heads, -1)).transpose(1, 2) for p in (block.q, block.k, block.v))
        attended = f.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + attended.transpose(1, 2).flatten(2) @ block.out.w
        x = x + f.gelu(norm(x, block.norm2) @ block.mlp.up.w, approximate="tanh") @ block.mlp.down.w
    logits = norm(x, params.norm) @ table.T
    return f.cross_entropy(logits.flatten(0, 1), targets.flatten())


def _tensor(array: jax.Array) -> Any:
    return torch.from_numpy(np.array(array))


def _forwards(static: Mapping[str, Any]) -> dict[str, Callable[..., Any]]:
    """A row's name to its forward pass with its options, a function of the leaves of the row's arguments."""
    f = torch.nn.functional

    def masked_softmax(x: Any, mask: Any) -> Any:
        return f.softmax(x.masked_fill(~mask, -torch.inf), -1)

    def masked_log_softmax(x: Any, mask: Any) -> Any:
        y = f.log_softmax(x.masked_fill(~mask, -torch.inf), -1)
        return y.masked_fill(~mask, -torch.inf)

    def cross_entropy(x: Any, labels: Any) -> Any:
        return f.cross_entropy(x, labels.long(), reduction="none")

    def smooth_z_loss(x: Any, labels: Any) -> Any:
        loss = f.cross_entropy(x, labels.long(), reduction="none", label_smoothing=0.1)
        return loss + 1e-3 * torch.logsumexp(x, -1).square()

    def sigmoid_cross_entropy(x: Any, t: Any) -> Any:
        return f.binary_cross_entropy_with_logits(x, t.to(x.dtype), reduction="none").sum(-1)

    def channels_second(function: Callable[..., Any], x: Any, *args: Any, **options: Any) -> Any:
        return function(x.movedim(-1, 1), *args, **options).movedim(1, -1)

    def conv(w: Any, b: Any, x: Any) -> Any:
        groups = static.get("groups", 1)
        return channels_second(f.conv2d, x, w.permute(3, 2, 0, 1), b, padding="same", groups=groups)

    def batch_norm(g: Any, b: Any, x: Any) -> Any:
        y, mean, r = torch.native_batch_norm(x.movedim(-1, 1), g, b, None, None, True, 0.0, 1e-5)
        return y.movedim(1, -1), mean.detach(), r.detach() ** -2 - 1e-5

    def recurrent(function: Callable[..., Any], x: Any, state: Any, *weights: Any) -> Any:
        w_x, w_h, b_x, b_h = weights
        ys, *final = function(x, state, [w_x.T, w_h.T, b_x, b_h], True, 1, 0.0, True, False, True)
        return ys, *(s[0] for s in final)

    def lstm(w_x: Any, w_h: Any, b: Any, x: Any, h: Any, c: Any) -> Any:
        return recurrent(torch.lstm, x, (h[None], c[None]), w_x, w_h, b, torch.zeros_like(b))

    def gru(w_x: Any, w_h: Any, b_x: Any, b_h: Any, x: Any, h: Any) -> Any:
        return recurrent(torch.gru, x, h[None], w_x, w_h, b_x, b_h)

    def rnn(w_x: Any, w_h: Any, b: Any, x: Any, h: Any) -> Any:
        return recurrent(torch.rnn_tanh, x, h[None], w_x, w_h, b, torch.zeros_like(b))

    def attention(q: Any, k: Any, v: Any) -> Any:
        heads_first = [x.transpose(1, 2) for x in (q, k, v)]
        return f.scaled_dot_product_attention(*heads_first, is_causal=True).transpose(1, 2)

    def attention_in_a_window(q: Any, k: Any, v: Any) -> Any:
        back = torch.arange(q.shape[1])[:, None] - torch.arange(q.shape[1])
        allowed = (back >= 0) & (back < static["window"])
        heads_first = [x.transpose(1, 2) for x in (q, k, v)]
        return f.scaled_dot_product_attention(*heads_first, attn_mask=allowed).transpose(1, 2)

    def linear_cross_entropy(w: Any, x: Any, labels: Any) -> Any:
        return f.cross_entropy(x @ w, labels.long(), reduction="none")

    return {
        "attention": attention,
        "attention.window": attention_in_a_window,
        "linear_cross_entropy": linear_cross_entropy,
        **dict.fromkeys(("conv", "conv.depthwise", "conv.grouped"), conv),
        "pool.max": lambda x: channels_second(f.max_pool2d, x, 2),
        "pool.average": lambda x: channels_second(f.avg_pool2d, x, 2),
        "layer_norm": lambda g, b, x: f.layer_norm(x, g.shape, g, b),
        "rms_norm": lambda g, x: f.rms_norm(x, g.shape, g, eps=1e-6),
        "group_norm": lambda g, b, x: channels_second(f.group_norm, x, min(8, len(g)), g, b),
        "batch_norm": batch_norm,
        "embedding": lambda table, ids: f.embedding(ids, table),
        "lstm": lstm,
        "gru": gru,
        "rnn": rnn,
        "activations.sigmoid": torch.sigmoid,
        "activations.tanh": torch.tanh,
        "activations.relu": torch.relu,
        "activations.leaky_relu": f.leaky_relu,
        "activations.elu": f.elu,
        "activations.softplus": f.softplus,
        "activations.silu": f.silu,
        "activations.gelu": f.gelu,
        "activations.gelu_tanh": lambda z: f.gelu(z, approximate="tanh"),
        "activations.relu_squared": lambda z: torch.relu(z).square(),
        "activations.hard_tanh": f.hardtanh,
        "softmax": lambda x: f.softmax(x, -1),
        "softmax.masked": masked_softmax,
        "log_softmax": lambda x: f.log_softmax(x, -1),
        "log_softmax.masked": masked_log_softmax,
        "squared_error": lambda y, t: f.mse_loss(y, t, reduction="none").sum(-1) / 2,
        "huber": lambda y, t: f.huber_loss(y, t, reduction="none").sum(-1),
        "softmax_cross_entropy": cross_entropy,
        "softmax_cross_entropy.distribution": lambda x, t: f.cross_entropy(x, t, reduction="none"),
        "softmax_cross_entropy.smooth_z_loss": smooth_z_loss,
        "sigmoid_cross_entropy": sigmoid_cross_entropy,
        "sigmoid_cross_entropy.probabilities": sigmoid_cross_entropy,
        "dense": lambda w, b, x: torch.addmm(b, x, w),
    }
