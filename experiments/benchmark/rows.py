"""The rows of the benchmark: for each op and model the hand-written function and its opponents.

In a row of an op they all map `(args, d_output)` to `(output, cotangents)`, in a row of a model
`(params, batches)` to `(params, losses)`: plain SGD, one step per batch, under a `lax.scan`, so
that the time to start a program is not counted as the time of a small network.
"""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jax_ref
from jax_ref.ops import activations as reference_activations
from jax_ref.verify import oracle
from jax_ref.verify.subject import of_op
from manual_bp import models, ops
from manual_bp.ops import activations

LEARNING_RATE = 0.1

OPTAX_CROSS_ENTROPY = "optax.softmax_cross_entropy"

Function = Callable[..., Any]


class Row(NamedTuple):
    """The hand-written function, each opponent's, and the arguments they are timed on.

    A call is `steps` steps, each with `matmul_flops` floating point operations in matrix products.
    """

    size: str
    args: tuple[Any, ...]
    by_hand: Function
    opponents: dict[str, Function]
    steps: int = 1
    matmul_flops: int | None = None


def rows(scale: float = 1.0) -> dict[str, Callable[[], Row]]:
    """Every row's name, and what makes it, with each dimension multiplied by `scale`."""
    draw = _Draw(scale)
    table = {
        f"activations.{name}": partial(_activation, name, pair, draw)
        for name, pair in activations.MEMBERS.items()
    }
    for name in ("softmax", "log_softmax"):
        table[name] = partial(_softmax, name, draw, masked=False)
        table[f"{name}.masked"] = partial(_softmax, name, draw, masked=True)
    table |= {
        "squared_error": partial(_squared_error, draw),
        "huber": partial(_huber, draw),
        "softmax_cross_entropy": partial(_labels, draw),
        "softmax_cross_entropy.distribution": partial(_distribution, draw),
        "softmax_cross_entropy.smooth_z_loss": partial(_smooth_z_loss, draw),
        "sigmoid_cross_entropy": partial(_sigmoid_labels, draw),
        "sigmoid_cross_entropy.probabilities": partial(_sigmoid_probabilities, draw),
        "dense": partial(_dense, draw),
    }
    for widths, batch, steps in (
        ((784, 30, 10), 10, 100),
        ((784, 100, 10), 10, 100),
        ((784, 512, 512, 10), 128, 2),
    ):
        table[f"mlp.{'-'.join(map(str, widths))}"] = partial(_mlp, draw, widths, batch, steps)
    return table


class _Draw:
    """Random float32 arrays and int32 labels whose dimensions are scaled."""

    def __init__(self, scale: float):
        self.scale = scale
        self.rng = np.random.default_rng(0)

    def dims(self, *dims: int) -> tuple[int, ...]:
        return tuple(max(2, round(n * self.scale)) for n in dims)

    def real(self, *dims: int) -> jax.Array:
        drawn = self.rng.standard_normal(self.dims(*dims), np.float32)
        drawn[np.isin(drawn, (-1, 0, 1))] = 0.5  # at a kink PyTorch's derivative is another
        return jnp.asarray(drawn)

    def uniform(self, *dims: int) -> jax.Array:
        return jnp.asarray(self.rng.random(self.dims(*dims), np.float32))

    def labels(self, classes: int, *dims: int) -> jax.Array:
        drawn = self.rng.integers(0, self.dims(classes)[0], self.dims(*dims), np.int32)
        return jnp.asarray(drawn)


def _op(
    op: Any,
    reference: Function,
    args: tuple[Any, ...],
    draw: _Draw,
    *,
    fused: dict[str, Function] | None = None,
    matmul_flops: int | None = None,
    **static: Any,
) -> Row:
    """The row of an op; `fused` are what libraries have for the same, under their names."""
    forward = partial(reference, **static)
    output = jax.eval_shape(forward, *args)
    d_output = jnp.asarray(draw.rng.standard_normal(output.shape, np.float32))
    candidates = {"jax.grad": forward, "jax.checkpoint": jax.checkpoint(forward), **(fused or {})}
    opponents = {name: partial(oracle.value_and_vjp, f) for name, f in candidates.items()}
    size = " ".join("x".join(map(str, leaf.shape)) for leaf in jax.tree.leaves(args))
    by_hand = of_op(op, reference, **static).run
    return Row(size, (args, d_output), by_hand, opponents, matmul_flops=matmul_flops)


def _activation(name: str, pair: activations.Activation, draw: _Draw) -> Row:
    return _op(pair, getattr(reference_activations, name), (draw.real(4096, 1024),), draw)


def _softmax(name: str, draw: _Draw, *, masked: bool) -> Row:
    x, mask = draw.real(1024, 1024), None
    if masked:
        mask = draw.uniform(1024, 1024) < 0.5
        mask = mask.at[:, 0].set(True)  # PyTorch has no answer for a row that allows nothing
    return _op(getattr(ops, name), getattr(jax_ref.ops, name).apply, (x, mask), draw)


def _squared_error(draw: _Draw) -> Row:
    def l2_loss(y: jax.Array, t: jax.Array) -> jax.Array:
        return jnp.sum(optax.l2_loss(y, t), -1)

    args = (draw.real(1024, 1024), draw.real(1024, 1024))
    reference = jax_ref.ops.squared_error.apply
    return _op(ops.squared_error, reference, args, draw, fused={"optax.l2_loss": l2_loss})


def _huber(draw: _Draw) -> Row:
    def huber_loss(y: jax.Array, t: jax.Array) -> jax.Array:
        return jnp.sum(optax.huber_loss(y, t), -1)

    args = (draw.real(1024, 1024), draw.real(1024, 1024))
    fused: dict[str, Function] = {"optax.huber_loss": huber_loss}
    return _op(ops.huber, jax_ref.ops.huber.apply, args, draw, fused=fused)


def _cross_entropy(draw: _Draw, targets: jax.Array, fused: dict[str, Function], **static: Any) -> Row:
    args = (draw.real(1024, 1024), targets)
    reference = jax_ref.ops.softmax_cross_entropy.apply
    return _op(ops.softmax_cross_entropy, reference, args, draw, fused=fused, **static)


def _labels(draw: _Draw) -> Row:
    targets = draw.labels(1024, 1024)
    fused = optax.softmax_cross_entropy_with_integer_labels
    return _cross_entropy(draw, targets, {f"optax.{fused.__name__}": fused})


def _distribution(draw: _Draw) -> Row:
    targets = jax.nn.softmax(draw.real(1024, 1024))
    return _cross_entropy(draw, targets, {OPTAX_CROSS_ENTROPY: optax.softmax_cross_entropy})


def _smooth_z_loss(draw: _Draw) -> Row:
    def with_optax(x: jax.Array, labels: jax.Array) -> jax.Array:
        one_hot = jax.nn.one_hot(labels, x.shape[-1], dtype=x.dtype)
        loss = optax.softmax_cross_entropy(x, optax.smooth_labels(one_hot, 0.1))
        return loss + 1e-3 * jnp.square(jax.nn.logsumexp(x, -1))

    targets = draw.labels(1024, 1024)
    static = {"label_smoothing": 0.1, "z_loss": 1e-3}
    return _cross_entropy(draw, targets, {OPTAX_CROSS_ENTROPY: with_optax}, **static)


def _sigmoid(draw: _Draw, targets: jax.Array) -> Row:
    def sigmoid_binary_cross_entropy(x: jax.Array, t: jax.Array) -> jax.Array:
        return jnp.sum(optax.sigmoid_binary_cross_entropy(x, t.astype(x.dtype)), -1)

    args = (draw.real(1024, 1024), targets)
    fused: dict[str, Function] = {"optax.sigmoid_binary_cross_entropy": sigmoid_binary_cross_entropy}
    reference = jax_ref.ops.sigmoid_cross_entropy.apply
    return _op(ops.sigmoid_cross_entropy, reference, args, draw, fused=fused)


def _sigmoid_labels(draw: _Draw) -> Row:
    return _sigmoid(draw, draw.labels(2, 1024, 1024))


def _sigmoid_probabilities(draw: _Draw) -> Row:
    return _sigmoid(draw, draw.uniform(1024, 1024))


def _dense(draw: _Draw) -> Row:
    x = draw.real(256, 768)
    params = ops.dense.Params(draw.real(768, 512), draw.real(512))
    flops = 3 * 2 * x.shape[0] * params.w.size  # y, dw and dx
    return _op(ops.dense, jax_ref.ops.dense.apply, (params, x), draw, matmul_flops=flops)


def _mlp(draw: _Draw, widths: tuple[int, ...], batch: int, steps: int) -> Row:
    widths, (batch, steps) = draw.dims(*widths), draw.dims(batch, steps)
    params = models.mlp.init(jax.random.key(0), widths, initializer="he")
    x = draw.rng.random((steps, batch, widths[0]), np.float32)
    labels = draw.rng.integers(0, widths[-1], (steps, batch), np.int32)
    loss = jax_ref.models.mlp.loss
    products = [batch * i * o for i, o in pairwise(widths)]
    return Row(
        f"{'-'.join(map(str, widths))} batch {batch} steps {steps}",
        (params, (jnp.asarray(x), jnp.asarray(labels))),
        partial(_train, models.mlp.value_and_grad),
        {
            "jax.grad": partial(_train, jax.value_and_grad(loss)),
            "jax.checkpoint": partial(_train, jax.value_and_grad(jax.checkpoint(loss))),
            "jax.grad, optax loss": partial(_train, jax.value_and_grad(_mlp_optax_loss)),
        },
        steps,
        2 * (3 * sum(products) - products[0]),  # z, dw and da of each layer; nobody needs the first da
    )


def _mlp_optax_loss(params: Any, batch: tuple[jax.Array, jax.Array]) -> jax.Array:
    x, labels = batch
    logits = jax_ref.models.mlp.apply(params, x)
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels))


def _train(value_and_grad: Function, params: Any, batches: tuple[jax.Array, jax.Array]) -> Any:
    """The params after a step on each of `batches`, and the loss at each."""

    def step(params: Any, batch: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
        loss, grads = value_and_grad(params, batch)
        return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, params, grads), loss

    return jax.lax.scan(step, params, batches)
