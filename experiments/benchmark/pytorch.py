"""The rows of the benchmark in eager PyTorch, where that is installed."""

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from experiments.benchmark.rows.models import LEARNING_RATE

torch: Any = importlib.import_module("torch") if importlib.util.find_spec("torch") else None


def call(name: str, args: tuple[Any, ...]) -> Callable[[], Any] | None:
    """A function that computes once what the row `name` does, or `None`."""
    if torch is None:
        return None
    if name.startswith("mlp."):
        return _training(*args)
    forward = _forwards().get(name)
    return None if forward is None else _forward_and_backward(forward, *args)


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
        cotangents = torch.autograd.grad([outputs[i] for i in used], leaves, [d_outputs[i] for i in used])
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


def _tensor(array: jax.Array) -> Any:
    return torch.from_numpy(np.array(array))


def _forwards() -> dict[str, Callable[..., Any]]:
    """A row's name to its forward pass, a function of the leaves of the row's arguments."""
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
        return channels_second(f.conv2d, x, w.permute(3, 2, 0, 1), b, padding="same")

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

    return {
        "conv": conv,
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
