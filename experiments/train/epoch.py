"""One round of training as one program, for every model and every engine."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments.train import loss_scale
from experiments.train.engines import Engine
from experiments.train.loss_scale import LossScale
from experiments.train.recipe import Recipe


class State(NamedTuple):
    """What training changes: the params, the optimiser's state, the model's own, and in float16 the scale."""

    params: Any
    opt_state: Any
    model: Any
    scale: LossScale | None = None


def make_round(
    engine: Engine,
    recipe: Recipe,
    optimizer: optax.GradientTransformation,
    *,
    batch_size: int,
    steps: int | None,
    layout: Any = None,
) -> jax.stages.Wrapped:
    """`run(state, arrays, key, number) -> (state, losses)`: the round of that number, in one scan.

    Without `steps` it is an epoch: every batch of the recipe's order once; the remainder that fills no batch
    is left out. With `steps` it has so many. `state` is donated: its buffers become those of the new state.
    `layout` says how the two results lie on devices.
    """

    def run(state: State, arrays: Any, key: jax.Array, number: jax.Array) -> tuple[State, jax.Array]:
        rows = recipe.order(key, number, recipe.count(arrays), batch_size, steps)
        keys = jax.random.split(noise_key(key, number), len(rows))

        def step(state: State, drawn: tuple[jax.Array, jax.Array]) -> tuple[State, jax.Array]:
            batch = recipe.batch(arrays, *drawn)
            if state.scale is None:
                (loss, model), grads = engine.value_and_grad(state.params, state.model, batch)
                return updated(state, grads, model), loss
            s = state.scale.scale
            (loss, model), grads = engine.value_and_grad(state.params, state.model, batch, dcost=s)
            good = loss_scale.finite(grads)
            after = updated(state, loss_scale.unscaled(grads, s), model)
            kept = loss_scale.chosen(good, after, state)  # a skipped step changes nothing but the scale
            return kept._replace(scale=loss_scale.adjusted(state.scale, good)), loss

        def updated(state: State, grads: Any, model: Any) -> State:
            updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
            return State(optax.apply_updates(state.params, updates), opt_state, model, state.scale)

        return jax.lax.scan(step, state, (rows, keys))

    return jax.jit(run, donate_argnums=0, out_shardings=layout)


def steps_in(count: int, batch_size: int, steps: int | None) -> int:
    """The steps of a round over `count` rows."""
    return count // batch_size if steps is None else steps


def noise_key(key: jax.Array, number: Any) -> jax.Array:
    """The key of what is random within a round; the order is drawn by `fold_in(key, number)` itself."""
    return jax.random.fold_in(key, jnp.uint32(2**32 - 1) - jnp.uint32(number))


def make_evaluate(engine: Engine, recipe: Recipe) -> Callable[[Any, Any, Any], dict[str, jax.Array]]:
    """`evaluate(params, model_state, arrays)`: the recipe's metrics."""
    return jax.jit(lambda params, model, arrays: recipe.metrics(engine.model(params, model), arrays))


def make_sample(engine: Engine, recipe: Recipe) -> Callable[..., jax.Array]:
    """`sample(params, model_state, key, number)`: what the recipe samples after a round."""
    draw = recipe.sample
    assert draw is not None

    def sample(params: Any, model: Any, key: jax.Array, number: jax.Array) -> jax.Array:
        return draw(engine.model(params, model), jax.random.fold_in(noise_key(key, number), 0))

    return jax.jit(sample)
