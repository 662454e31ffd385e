"""Rows of whole models: steps of plain SGD, one on each batch, under a `lax.scan`.

So the time to start a program is not counted as the time of a small network. A convolutional network is timed
both ways, as in a loop XLA has other convolutions on the CPU.
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


def _convnet(draw: Draw, blocks: tuple[tuple[int, ...], ...], batch: int, steps: int | None) -> Row:
    """Steps on images of 28 x 28, of the size and with the options of the main job; None: one, in no loop.

    Kinks are where two entries of a pool are nearly one number, or one of a relu nearly zero.
    """
    (batch,), places = draw.dims(batch), 4 * draw.dims(7)[0]
    blocks = tuple(draw.dims(*block) for block in blocks)
    params = models.convnet.init(jax.random.key(0), (places, places, 1), blocks, (10,))
    state = models.convnet.init_state(params)
    shape = () if steps is None else (steps,)
    x = jnp.asarray(draw.rng.random((*shape, batch, places, places, 1), np.float32))
    labels = jnp.asarray(draw.rng.integers(0, 10, (*shape, batch), np.int32))
    losses = {
        "jax.grad": jax_ref.models.convnet.loss,
        "jax.checkpoint": jax.checkpoint(jax_ref.models.convnet.loss),
        "variance in one pass, maxima of pairs": _convnet_other_loss,
    }
    size = f"{'/'.join('-'.join(map(str, block)) for block in blocks)} on {places}x{places} batch {batch}"
    engines = {name: jax.value_and_grad(loss, has_aux=True) for name, loss in losses.items()}
    by_hand, run, alone = models.convnet.value_and_grad, step, None
    if steps is not None:
        size, run = f"{size} steps {steps}", _train_with_state
        first = params, state, (x[0], labels[0])
        alone = Alone(first, partial(step, by_hand), partial(step, engines["jax.grad"]))
    return Row(
        size,
        (params, state, (x, labels)),
        partial(run, by_hand),
        {name: partial(run, engine) for name, engine in engines.items()},
        steps or 1,
        alone=alone,
        has_kinks=True,
    )


def _convnet_other_loss(params: Any, state: Any, batch: Any) -> tuple[jax.Array, Any]:
    """The same loss in the form whose gradient XLA makes fastest.

    Where two entries of a window are the largest, each gets a half: another gradient. In the batch there is
    no such pair but of zeros, whose gradient the relu stops. A maximum over both axes of a window at once is
    slower, and loses its gradient where XLA computes the entries twice and rounds them otherwise.
    """
    x, labels = batch
    after = []
    for block, before in zip(params.blocks, state, strict=True):
        statistics = []
        for layer, running in zip(block, before, strict=True):
            x, moved = _normalized(jax_ref.ops.conv.apply(layer.conv, x), layer.norm, running)
            x = jax.lax.optimization_barrier(jax.nn.relu(x))
            statistics.append(moved)
        b, h, w, c = x.shape
        rows = x[:, : h // 2 * 2, : w // 2 * 2].reshape(b, h // 2, 2, w // 2 * 2, c)
        columns = jnp.maximum(rows[:, :, 0], rows[:, :, 1]).reshape(b, h // 2, w // 2, 2, c)
        x = jnp.maximum(columns[:, :, :, 0], columns[:, :, :, 1])
        after.append(tuple(statistics))
    logits = jax_ref.models.mlp.apply(params.head, x.reshape(len(x), -1))
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, labels)), tuple(after)


def _normalized(x: jax.Array, norm: Any, running: Any) -> tuple[jax.Array, Any]:
    """Batch normalisation as libraries have it, and the running statistics after it."""
    over = (0, 1, 2)
    mean = jnp.mean(x, over)
    var = jnp.mean(jnp.square(x), over) - jnp.square(mean)
    scale = jax.lax.rsqrt(var + 1e-5) * norm.g
    y = (x - jnp.expand_dims(mean, over)) * jnp.expand_dims(scale, over) + jnp.expand_dims(norm.b, over)
    moved = (0.9 * old + 0.1 * new for old, new in zip(running, (mean, var), strict=True))
    return y, type(running)(*moved)


def step(value_and_grad: Function, params: Any, *data: Any) -> tuple[Any, Any]:
    """The params after a step of SGD, and the value: the loss, with the state where the model has one."""
    value, grads = value_and_grad(params, *data)
    return jax.tree.map(lambda p, g: p - LEARNING_RATE * g, params, grads), value


def _train(value_and_grad: Function, params: Any, batches: tuple[jax.Array, jax.Array]) -> Any:
    """The params after a step on each of `batches`, and the loss at each."""
    return jax.lax.scan(partial(step, value_and_grad), params, batches)


def _train_with_state(value_and_grad: Function, params: Any, state: Any, batches: Any) -> Any:
    """The params and the state after a step on each of the batches, and the loss at each."""

    def following(carry: tuple[Any, Any], batch: Any) -> tuple[tuple[Any, Any], jax.Array]:
        params, state = carry
        params, (loss, state) = step(value_and_grad, params, state, batch)
        return (params, state), loss

    return jax.lax.scan(following, (params, state), batches)


ROWS = {
    f"mlp.{'-'.join(map(str, widths))}": partial(_mlp, widths=widths, batch=batch, steps=steps)
    for widths, batch, steps in (
        ((784, 30, 10), 10, 100),
        ((784, 100, 10), 10, 100),
        ((784, 512, 512, 10), 128, 2),
    )
} | {
    name: partial(_convnet, blocks=((16,), (32,), (64,)), batch=128, steps=steps)
    for name, steps in (("convnet", None), ("convnet.steps", 2))
}
