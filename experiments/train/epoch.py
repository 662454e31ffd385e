"""One training loop for every engine, and what is measured between its epochs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments.train.engines import Engine
from manual_bp.precision import wide


class State(NamedTuple):
    """What training changes."""

    params: Any
    opt_state: Any


Batch = tuple[jax.Array, jax.Array]


def make_epoch(
    engine: Engine, optimizer: optax.GradientTransformation, batch_size: int
) -> jax.stages.Wrapped:
    """`epoch(state, data, key, number) -> (state, losses)`: every batch of a new order once, in one scan.

    The remainder that fills no batch is left out, another one each epoch. `state` is donated: its
    buffers become those of the new state.
    """

    def epoch(state: State, data: Batch, key: jax.Array, number: jax.Array) -> tuple[State, jax.Array]:
        x, y = data
        steps = x.shape[0] // batch_size
        order = jax.random.permutation(jax.random.fold_in(key, number), x.shape[0])

        def step(state: State, rows: jax.Array) -> tuple[State, jax.Array]:
            loss, grads = engine.value_and_grad(state.params, (x[rows], y[rows]))
            updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
            return State(optax.apply_updates(state.params, updates), opt_state), loss

        return jax.lax.scan(step, state, order[: steps * batch_size].reshape(steps, batch_size))

    return jax.jit(epoch, donate_argnums=0)


def make_evaluate(engine: Engine) -> Callable[[Any, Batch, jax.Array], tuple[jax.Array, jax.Array]]:
    """`evaluate(params, (x, targets), labels) -> (loss, accuracy)`."""

    @jax.jit
    def evaluate(params: Any, batch: Batch, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
        loss, _ = engine.value_and_grad(params, batch)
        predicted = jnp.argmax(engine.apply(params, batch[0]), axis=-1)
        return loss, jnp.mean(predicted == labels)

    return evaluate


def make_gradient(engine: Engine) -> Callable[[Any, Batch], Any]:
    """`gradient(params, batch) -> grads`, a program of its own.

    Two engines in one program would be merged by XLA where they do the same, and so agree unasked.
    """
    return jax.jit(lambda params, batch: engine.value_and_grad(params, batch)[1])


@jax.jit
def compare(grads: Any, other_grads: Any) -> tuple[jax.Array, jax.Array]:
    """The difference of two gradients and the norm of the second, each (L,), by layer.

    A layer's difference is the largest of its params', each relative to the norm of the second's.
    """
    differences = [
        jnp.max(jnp.stack(jax.tree.leaves(jax.tree.map(relative_difference, a, b))))
        for a, b in zip(grads.layers, other_grads.layers, strict=True)
    ]
    norms = [optax.tree.norm(jax.tree.map(wide, layer)) for layer in other_grads.layers]
    return jnp.stack(differences), jnp.stack(norms)


@jax.jit
def distance(params: Any, other_params: Any) -> jax.Array:
    """The Euclidean distance of two pytrees of params."""
    return optax.tree.norm(jax.tree.map(lambda p, q: wide(p) - wide(q), params, other_params))


def relative_difference(a: jax.Array, b: jax.Array) -> jax.Array:
    """|a - b| / |b|, and 0 where both are zero."""
    a, b = wide(a), wide(b)
    off, size = jnp.linalg.norm((a - b).ravel()), jnp.linalg.norm(b.ravel())
    return jnp.where(off == 0, 0, off / size)
