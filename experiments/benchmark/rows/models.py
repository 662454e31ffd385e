"""Rows of whole models: steps of plain SGD, one on each batch, under a `lax.scan`.

So the time to start a program is not counted as the time of a small network.
"""

from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jax_ref
from experiments.benchmark.rows.row import Alone, Draw, Function, Row
from manual_bp import models

LEARNING_RATE = 0.1


def _mlp(draw: Draw, widths: tuple[int, ...], batch: int, steps: int) -> Row:
    widths, (batch, steps) = draw.dims(*widths), draw.dims(batch, steps)
    params = models.mlp.init(jax.random.key(0), widths, initializer="he")
    x = draw.rng.random((steps, batch, widths[0]), np.float32)
    labels = draw.rng.integers(0, widths[-1], (steps, batch), np.int32)
    loss = jax_ref.models.mlp.loss
    products = [batch * i * o for i, o in pairwise(widths)]
    first = jnp.asarray(x[0]), jnp.asarray(labels[0])
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
        Alone((params, first), models.mlp.value_and_grad, jax.value_and_grad(loss)),
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


ROWS = {
    f"mlp.{'-'.join(map(str, widths))}": partial(_mlp, widths=widths, batch=batch, steps=steps)
    for widths, batch, steps in (
        ((784, 30, 10), 10, 100),
        ((784, 100, 10), 10, 100),
        ((784, 512, 512, 10), 128, 2),
    )
}
