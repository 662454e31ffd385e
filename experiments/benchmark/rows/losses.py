"""Rows of the losses, one value for each example."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

import jax_ref
from experiments.benchmark.rows.row import Draw, Function, Row, op_row
from manual_bp import ops

OPTAX_CROSS_ENTROPY = "optax.softmax_cross_entropy"


def _squared_error(draw: Draw) -> Row:
    def l2_loss(y: jax.Array, t: jax.Array) -> jax.Array:
        return jnp.sum(optax.l2_loss(y, t), -1)

    args = (draw.real(1024, 1024), draw.real(1024, 1024))
    reference = jax_ref.ops.squared_error.apply
    return op_row(ops.squared_error, reference, args, draw, fused={"optax.l2_loss": l2_loss})


def _huber(draw: Draw) -> Row:
    def huber_loss(y: jax.Array, t: jax.Array) -> jax.Array:
        return jnp.sum(optax.huber_loss(y, t), -1)

    args = (draw.real(1024, 1024), draw.real(1024, 1024))
    fused: dict[str, Function] = {"optax.huber_loss": huber_loss}
    return op_row(ops.huber, jax_ref.ops.huber.apply, args, draw, fused=fused)


def _cross_entropy(draw: Draw, targets: jax.Array, fused: dict[str, Function], **static: Any) -> Row:
    args = (draw.real(1024, 1024), targets)
    reference = jax_ref.ops.softmax_cross_entropy.apply
    return op_row(ops.softmax_cross_entropy, reference, args, draw, fused=fused, **static)


def _labels(draw: Draw) -> Row:
    targets = draw.labels(1024, 1024)
    fused = optax.softmax_cross_entropy_with_integer_labels
    return _cross_entropy(draw, targets, {f"optax.{fused.__name__}": fused})


def _distribution(draw: Draw) -> Row:
    targets = jax.nn.softmax(draw.real(1024, 1024))
    return _cross_entropy(draw, targets, {OPTAX_CROSS_ENTROPY: optax.softmax_cross_entropy})


def _smooth_z_loss(draw: Draw) -> Row:
    def with_optax(x: jax.Array, labels: jax.Array) -> jax.Array:
        one_hot = jax.nn.one_hot(labels, x.shape[-1], dtype=x.dtype)
        loss = optax.softmax_cross_entropy(x, optax.smooth_labels(one_hot, 0.1))
        return loss + 1e-3 * jnp.square(jax.nn.logsumexp(x, -1))

    targets = draw.labels(1024, 1024)
    static = {"label_smoothing": 0.1, "z_loss": 1e-3}
    return _cross_entropy(draw, targets, {OPTAX_CROSS_ENTROPY: with_optax}, **static)


def _sigmoid(draw: Draw, targets: jax.Array) -> Row:
    def sigmoid_binary_cross_entropy(x: jax.Array, t: jax.Array) -> jax.Array:
        return jnp.sum(optax.sigmoid_binary_cross_entropy(x, t.astype(x.dtype)), -1)

    args = (draw.real(1024, 1024), targets)
    fused: dict[str, Function] = {"optax.sigmoid_binary_cross_entropy": sigmoid_binary_cross_entropy}
    reference = jax_ref.ops.sigmoid_cross_entropy.apply
    return op_row(ops.sigmoid_cross_entropy, reference, args, draw, fused=fused)


def _sigmoid_labels(draw: Draw) -> Row:
    return _sigmoid(draw, draw.labels(2, 1024, 1024))


def _sigmoid_probabilities(draw: Draw) -> Row:
    return _sigmoid(draw, draw.uniform(1024, 1024))


ROWS = {
    "squared_error": _squared_error,
    "huber": _huber,
    "softmax_cross_entropy": _labels,
    "softmax_cross_entropy.distribution": _distribution,
    "softmax_cross_entropy.smooth_z_loss": _smooth_z_loss,
    "sigmoid_cross_entropy": _sigmoid_labels,
    "sigmoid_cross_entropy.probabilities": _sigmoid_probabilities,
}
