"""An outside oracle: forward and every gradient beside PyTorch's, in float64, where that is installed.

PyTorch has channels before the spatial axes and (out, in) weights: its arguments are ours, moved, and its
gradients are taken with respect to ours.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_ref.verify import oracle
from manual_bp import differentiable
from manual_bp.ops import (
    attention,
    batch_norm,
    conv,
    dense,
    embedding,
    frozen_batch_norm,
    gated_mlp,
    group_norm,
    gru,
    layer_norm,
    linear_cross_entropy,
    lstm,
    plain_attention,
    pool,
    rms_norm,
    rnn,
    rope,
    softmax_cross_entropy,
)
from tests.cases.case import Draw

torch: Any = pytest.importorskip("torch")
f: Any = torch.nn.functional
TOLERANCE = 1e-12


class Twin(NamedTuple):
    """An op with its arguments and options, and PyTorch's function of the leaves of the arguments.

    `constant` are the leaves that PyTorch does not differentiate.
    """

    op: Any
    args: Callable[[Draw], tuple[Any, ...]]
    theirs: Callable[..., Any]
    static: dict[str, Any] = {}  # noqa: RUF012
    constant: tuple[int, ...] = ()


def channels_second(function: Callable[..., Any], x: Any, *args: Any, **options: Any) -> Any:
    """A function of an x that has its channels second, for one that has them last."""
    return function(x.movedim(-1, 1), *args, **options).movedim(1, -1)


def convolved(function: Callable[..., Any], ends: Any = (), **options: Any) -> Callable[..., Any]:
    """The convolution of an x padded by `ends`, (lo, hi) of the last spatial axis first."""

    def theirs(w: Any, *b_x: Any) -> Any:
        *b, x = b_x
        padded = f.pad(x, (0, 0, *ends))
        return channels_second(function, padded, w.movedim((-1, -2), (0, 1)), *b, **options)

    return theirs


def pooled(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    return lambda x: channels_second(function, x, **options)


def kernel(d: Draw, *shape: int, bias: bool = True) -> conv.Params:
    return conv.Params(d.real(*shape), d.real(shape[-1]) if bias else None)  # pyright: ignore


def gains(d: Draw, kind: Any, channels: int) -> Any:
    return kind(d.real(channels), d.real(channels))


def variance(d: Draw, channels: int) -> Any:
    return batch_norm.Statistics(d.real(channels), d.rng.uniform(0.5, 2, channels))  # pyright: ignore


def batch_normed(g: Any, b: Any, x: Any) -> Any:
    over = (0, 1, 2)
    y = channels_second(f.batch_norm, x, None, None, g, b, training=True)
    return y, x.mean(over), x.var(over, unbiased=False)


def frozen(g: Any, b: Any, x: Any, mean: Any, var: Any) -> Any:
    return channels_second(f.batch_norm, x, mean, var, g, b)


def frozen_statistics(g: Any, b: Any, x: Any, mean: Any, var: Any) -> Any:
    return (x - mean) / torch.sqrt(var + 1e-5) * g + b


def packed(
    function: Callable[..., Any], x: Any, state: tuple[Any, ...], lengths: Any, *weights: Any
) -> tuple[Any, ...]:
    """Outputs and final state of a recurrent function over a packed sequence."""
    w_x, w_h, b_x, b_h = weights
    p = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    first: Any = tuple(s[None, p.sorted_indices] for s in state)
    first = first if len(first) > 1 else first[0]
    out, *final = function(p.data, p.batch_sizes, first, [w_x.T, w_h.T, b_x, b_h], True, 1, 0.0, True, False)
    out = torch.nn.utils.rnn.PackedSequence(out, *p[1:])
    ys, _ = torch.nn.utils.rnn.pad_packed_sequence(out, batch_first=True, total_length=x.shape[1])
    return ys, *(s[0, p.unsorted_indices] for s in final)


def one_bias(function: Callable[..., Any], w_x: Any, w_h: Any, b: Any, x: Any, *rest: Any) -> Any:
    *state, lengths = rest
    return packed(function, x, tuple(state), lengths, w_x, w_h, b, torch.zeros_like(b))


def two_biases(w_x: Any, w_h: Any, b_x: Any, b_h: Any, x: Any, h: Any, lengths: Any) -> Any:
    return packed(torch.gru, x, (h,), lengths, w_x, w_h, b_x, b_h)


def backwards(w_x: Any, w_h: Any, b: Any, x: Any, h: Any) -> Any:
    whole = torch.full((x.shape[0],), x.shape[1])
    ys, final = one_bias(torch.rnn_relu, w_x, w_h, b, x.flip(1), h, whole)
    return ys.flip(1), final


def sequence(d: Draw, op: Any, biases: int = 1, *, lengths: bool = True) -> tuple[Any, ...]:
    """Of a batch of four, five steps, three features in and a state of two."""
    width = 2 * len(getattr(op, "GATES", "h"))
    params = op.Params(d.real(3, width), d.real(2, width), *(d.real(width) for _ in range(biases)))
    state = op.State(d.real(4, 2), d.real(4, 2)) if hasattr(op, "State") else d.real(4, 2)
    return params, d.real(4, 5, 3), state, *((np.array([3, 5, 1, 4]),) if lengths else ())


def by_heads(q: Any, k: Any, v: Any, mask: Any = None, **options: Any) -> Any:
    """Attention of (B, T, H, D): PyTorch has the heads before the time."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    options = {"attn_mask": mask, "enable_gqa": True, **options}
    return f.scaled_dot_product_attention(q, k, v, **options).transpose(1, 2)


def heads(d: Draw, q: int, k: int, *, keys: int = 7) -> tuple[Any, ...]:
    """Queries, keys and values: a batch of two, five queries, three features to a head."""
    return d.real(2, 5, q, 3), d.real(2, keys, k, 3), d.real(2, keys, k, 3)


def rows_of_nothing(d: Draw) -> Any:
    """A mask (B, 1, T, S) with queries that may attend to no key."""
    mask = d.rng.random((2, 1, 5, 7)) < 0.5
    mask[0, 0, [0, 3]] = False
    return mask


def rotary(x: Any, positions: Any, *, base: float) -> Any:
    """As transformers has it for Llama: halves, angles twice side by side."""
    frequencies = base ** -(torch.arange(0, x.shape[-1], 2, dtype=x.dtype) / x.shape[-1])
    angles = positions[..., None].to(x.dtype) * frequencies
    angles = torch.cat((angles, angles), -1).unsqueeze(-2)
    first, second = x.chunk(2, -1)
    return x * angles.cos() + torch.cat((-second, first), -1) * angles.sin()


def rotary_of_neighbours(x: Any, positions: Any, *, base: float) -> Any:
    """As GPT-J has it: each angle twice in a row, and every second feature with its neighbour."""
    frequencies = base ** -(torch.arange(0, x.shape[-1], 2, dtype=x.dtype) / x.shape[-1])
    angles = (positions[..., None].to(x.dtype) * frequencies).repeat_interleave(2, -1)[None, :, None]
    turned = torch.stack((-x[..., 1::2], x[..., ::2]), -1).flatten(-2)
    return x * angles.cos() + turned * angles.sin()


def swiglu(gate: Any, up: Any, down: Any, x: Any) -> Any:
    return (f.silu(x @ gate) * (x @ up)) @ down


def of_a_head(w: Any, b: Any, x: Any, *labels_weights: Any, **options: Any) -> Any:
    return of_logits(x @ w + b, *labels_weights, **options)


def of_logits(logits: Any, labels: Any, weights: Any = None, **options: Any) -> Any:
    """PyTorch's weights are of classes, and divide a mean: one of its own for each label is a factor."""
    loss = f.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none", **options)
    loss = loss.reshape(labels.shape)
    return loss if weights is None else weights * loss


def tokens(d: Draw, *, ignored: bool = False) -> Any:
    labels = d.labels((2, 5), 7)
    return np.where(d.rng.random((2, 5)) < 0.3, -100, labels) if ignored else labels


HEAD_AND_LOSS = {
    "plain": ({}, {}),
    "options": (
        {"ignore_label": -100, "label_smoothing": 0.1},
        {"ignore_index": -100, "label_smoothing": 0.1},
    ),
}

ATTENTIONS = {
    "causal, grouped": (lambda d: heads(d, 4, 2), {"is_causal": True}, {"causal": True}),
    "one head of keys, scale": (lambda d: heads(d, 3, 1), {"scale": -0.3}, {"scale": -0.3}),
    "bias": (lambda d: (*heads(d, 2, 2), d.real(1, 2, 5, 7)), {}, {}),
    "rows of nothing": (lambda d: (*heads(d, 2, 2), None, rows_of_nothing(d)), {}, {}),
}

TWINS = {
    "conv1d": Twin(
        conv,
        lambda d: (kernel(d, 3, 2, 6), d.real(2, 9, 4)),
        convolved(f.conv1d, stride=2, dilation=2, groups=2, ends=(2, 1)),
        {"strides": 2, "dilation": 2, "groups": 2, "padding": ((2, 1),)},
    ),
    "conv2d": Twin(
        conv, lambda d: (kernel(d, 3, 3, 2, 3), d.real(2, 5, 4, 2)), convolved(f.conv2d, padding="same")
    ),
    "conv2d depthwise": Twin(
        conv,
        lambda d: (kernel(d, 2, 3, 1, 6, bias=False), d.real(2, 6, 8, 3)),
        convolved(f.conv2d, stride=(2, 3), groups=3, ends=(0, 3, 1, 2)),
        {"strides": (2, 3), "groups": 3, "padding": ((1, 2), (0, 3))},
    ),
    "conv3d": Twin(
        conv,
        lambda d: (kernel(d, 2, 1, 3, 2, 2), d.real(2, 4, 3, 5, 2)),
        convolved(f.conv3d, stride=(1, 2, 1), dilation=(2, 1, 1)),
        {"strides": (1, 2, 1), "dilation": (2, 1, 1), "padding": "VALID"},
    ),
    "max pool": Twin(
        pool.max, lambda d: (d.real(2, 5, 6, 3),), pooled(f.max_pool2d, kernel_size=2), {"window": 2}
    ),
    "max pool, overlapping": Twin(
        pool.max,
        lambda d: (d.real(2, 5, 6, 3),),
        pooled(f.max_pool2d, kernel_size=3, stride=(1, 2), padding=1),
        {"window": 3, "strides": (1, 2), "padding": ((1, 1), (1, 1))},
    ),
    "max pool of a line": Twin(
        pool.max,
        lambda d: (d.real(2, 8, 3),),
        pooled(f.max_pool1d, kernel_size=2, stride=3),
        {"window": 2, "strides": 3},
    ),
    **{
        f"average pool, {'with' if included else 'without'} padding": Twin(
            pool.average,
            lambda d: (d.real(2, 5, 6, 3),),
            pooled(f.avg_pool2d, kernel_size=(3, 2), stride=2, padding=1, count_include_pad=included),
            {"window": (3, 2), "strides": 2, "padding": ((1, 1), (1, 1)), "count_include_pad": included},
        )
        for included in (True, False)
    },
    "batch norm": Twin(
        batch_norm, lambda d: (gains(d, batch_norm.Params, 3), d.real(2, 4, 5, 3)), batch_normed
    ),
    "frozen batch norm": Twin(
        frozen_batch_norm,
        lambda d: (gains(d, batch_norm.Params, 3), d.real(2, 4, 5, 3), variance(d, 3)),
        frozen,
        constant=(3, 4),
    ),
    "statistics of a frozen batch norm": Twin(
        frozen_batch_norm,
        lambda d: (gains(d, batch_norm.Params, 3), d.real(2, 4, 5, 3), variance(d, 3)),
        frozen_statistics,
    ),
    "layer norm": Twin(
        layer_norm,
        lambda d: (gains(d, layer_norm.Params, 5), d.real(2, 3, 5)),
        lambda g, b, x: f.layer_norm(x, (5,), g, b),
    ),
    "group norm": Twin(
        group_norm,
        lambda d: (gains(d, group_norm.Params, 6), d.real(2, 3, 4, 6)),
        lambda g, b, x: channels_second(f.group_norm, x, 3, g, b),
        {"groups": 3},
    ),
    "rms norm": Twin(
        rms_norm,
        lambda d: (rms_norm.Params(d.real(5)), d.real(2, 3, 5)),  # pyright: ignore
        lambda g, x: f.rms_norm(x, (5,), g, eps=1e-6),
    ),
    "rms norm, offset": Twin(
        rms_norm,
        lambda d: (rms_norm.Params(d.real(5)), d.real(2, 3, 5)),  # pyright: ignore
        lambda g, x: f.rms_norm(x, (5,), 1 + g, eps=0.1),
        {"unit_offset": True, "eps": 0.1},
    ),
    "embedding": Twin(
        embedding,
        lambda d: (embedding.Params(d.real(5, 3)), d.labels((4, 6), 5)),  # pyright: ignore
        lambda table, ids: f.embedding(ids, table),
    ),
    "lstm": Twin(lstm, lambda d: sequence(d, lstm), partial(one_bias, torch.lstm)),
    "gru": Twin(gru, lambda d: sequence(d, gru, 2), two_biases),
    "rnn": Twin(rnn, lambda d: sequence(d, rnn), partial(one_bias, torch.rnn_tanh)),
    "rnn, backwards": Twin(
        rnn,
        lambda d: sequence(d, rnn, lengths=False),
        backwards,
        {"activation": "relu", "reverse": True},
    ),
    **{
        f"{'tiled' if op is attention else 'plain'} attention, {name}": Twin(
            op, args, partial(by_heads, **theirs), ours | ({"block": (2, 3)} if op is attention else {})
        )
        for op in (attention, plain_attention)
        for name, (args, theirs, ours) in ATTENTIONS.items()
    },
    "rope": Twin(
        rope,
        lambda d: (d.real(2, 5, 3, 6), d.labels((2, 5), 99)),
        partial(rotary, base=10000.0),
    ),
    "rope, neighbours": Twin(
        rope,
        lambda d: (d.real(2, 5, 3, 6), np.arange(5) + 2),
        partial(rotary_of_neighbours, base=100.0),
        {"interleaved": True, "base": 100.0},
    ),
    "gated mlp": Twin(
        gated_mlp,
        lambda d: (
            gated_mlp.Params(*(dense.Params(d.real(*s), None) for s in ((3, 4), (3, 4), (4, 2)))),  # pyright: ignore
            d.real(2, 5, 3),
        ),
        swiglu,
    ),
    **{
        f"head and loss, {name}": Twin(
            linear_cross_entropy,
            lambda d, n=name: (
                dense.Params(d.real(3, 7), d.real(7)),  # pyright: ignore
                d.real(2, 5, 3),
                tokens(d, ignored=n == "options"),
                *((d.real(2, 5),) if n == "options" else ()),
            ),
            partial(of_a_head, **theirs),
            ours | {"chunk": 3},
        )
        for name, (ours, theirs) in HEAD_AND_LOSS.items()
    },
    **{
        f"loss, {name}": Twin(
            softmax_cross_entropy,
            lambda d, n=name: (
                d.real(2, 5, 7),
                tokens(d, ignored=n == "options"),
                *((d.real(2, 5),) if n == "options" else ()),
            ),
            partial(of_logits, **theirs),
            ours,
        )
        for name, (ours, theirs) in HEAD_AND_LOSS.items()
    },
    "loss of distributions": Twin(
        softmax_cross_entropy,
        lambda d: (d.real(4, 7), d.rng.dirichlet(np.ones(7), 4)),
        lambda logits, t: f.cross_entropy(logits, t, reduction="none", label_smoothing=0.1),
        {"label_smoothing": 0.1},
    ),
}


@pytest.mark.parametrize("name", TWINS)
def test_output_and_gradients_are_those_of_pytorch(name):
    twin, d = TWINS[name], Draw(np.random.default_rng(list(name.encode())))
    args = jax.tree.map(jnp.asarray, twin.args(d))
    tensors = [torch.from_numpy(np.array(leaf)) for leaf in jax.tree.leaves(args)]
    wanted = [t for i, t in enumerate(tensors) if t.is_floating_point() and i not in twin.constant]
    for tensor in wanted:
        tensor.requires_grad_()
    found = twin.theirs(*tensors)
    outputs = found if isinstance(found, tuple) else (found,)
    d_outputs = [d.real(*y.shape) for y in outputs]
    theirs = torch.autograd.grad(outputs, wanted, [torch.from_numpy(dy) for dy in d_outputs])

    function = partial(differentiable(twin.op), **twin.static)
    tree = jax.tree.structure(jax.eval_shape(function, *args))
    run = jax.jit(partial(oracle.value_and_vjp, function))
    output, cotangents = run(args, jax.tree.unflatten(tree, d_outputs))
    ours = [leaf for i, leaf in enumerate(jax.tree.leaves(cotangents)) if i not in twin.constant]
    for a, e in zip([*jax.tree.leaves(output), *ours], [*outputs, *theirs], strict=True):
        expected = e.detach().numpy()
        assert a.shape == expected.shape
        assert np.linalg.norm(a - expected) <= TOLERANCE * np.linalg.norm(expected)
