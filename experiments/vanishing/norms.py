"""The norms of the deltas of each hidden layer, (4): at initialisation, and in training."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments import data
from manual_bp.models import mlp

Batch = tuple[Array, Array]

COSTS = {
    "cross_entropy": {"loss": "sigmoid_cross_entropy"},  # takes logits: (2) is a part of it
    "quadratic": {"loss": "squared_error", "output_activation": "sigmoid"},
}

BATCH_SIZE, LEARNING_RATE = 20, 0.2
"""Of the training."""


def first_examples(dataset: data.Dataset, examples: int) -> Batch:
    """The first training examples, with one-hot targets."""
    targets = np.eye(dataset.classes)[dataset.train.y[:examples]]
    return jnp.asarray(dataset.train.x[:examples], jnp.float64), jnp.asarray(targets)


def delta_norms(gradient: mlp.Params) -> Float[Array, "d"]:
    """(4): the norm for each hidden layer."""
    return jnp.stack([jnp.linalg.norm(layer.b) for layer in gradient.layers[:-1]])


@functools.partial(jax.jit, static_argnames=("activation", "cost"))
def initial_norms(params: mlp.Params, batch: Batch, *, activation: str, cost: str) -> Float[Array, "N d"]:
    """The norms at initialisation, for N draws."""
    value_and_grad = functools.partial(mlp.value_and_grad, activation=activation, **COSTS[cost])
    return jax.lax.map(lambda p: delta_norms(value_and_grad(p, batch)[1]), params)


@functools.partial(jax.jit, static_argnames=("activation", "cost", "epochs"))
def training_norms(
    params: mlp.Params, batch: Batch, *, activation: str, cost: str, epochs: int
) -> Float[Array, "N epochs+1 d"]:
    """The norms over all examples, before each epoch of gradient descent and after the last."""
    value_and_grad = functools.partial(mlp.value_and_grad, activation=activation, **COSTS[cost])
    size = min(BATCH_SIZE, len(batch[0]))
    steps = len(batch[0]) // size  # what is left over is not trained on
    parts = jax.tree.map(lambda a: a[: steps * size].reshape(steps, size, a.shape[1]), batch)

    def step(params: mlp.Params, part: Batch) -> tuple[mlp.Params, None]:
        _, gradient = value_and_grad(params, part)
        return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, params, gradient), None

    def epoch(params: mlp.Params, _: None) -> tuple[mlp.Params, Array]:
        return jax.lax.scan(step, params, parts)[0], delta_norms(value_and_grad(params, batch)[1])

    return jax.lax.map(lambda p: jax.lax.scan(epoch, p, length=epochs + 1)[1], params)
