"""Memory that a run needs at least, counted from shapes before anything of it is allocated."""

from typing import Any

import jax

from experiments.common import memory
from experiments.train import optimizers
from experiments.train.engines import ENGINES
from experiments.train.recipe import Recipe
from experiments.train.settings import Settings


def check(settings: Settings, recipe: Recipe, train: Any, steps: int, parts: int) -> None:
    """Raise `UserError` if the states, the batches of a round and the largest array of a step do not fit.

    Params and optimiser are in so many parts on as many devices.
    """
    key = jax.eval_shape(jax.random.key, 0)
    rows = jax.ShapeDtypeStruct((settings.batch_size,), "int32")
    optimizer = optimizers.build(
        settings.optimizer,
        settings.learning_rate,
        schedule=settings.schedule,
        steps=steps * settings.epochs,
        weight_decay=settings.weight_decay,
        clip_norm=settings.clip_norm,
        warmup_steps=settings.warmup_steps,
        decayed=recipe.decayed,
        rates=None,
    )
    params = jax.eval_shape(recipe.init, key)
    states = memory.size((params, jax.eval_shape(optimizer.init, params)))
    states *= len(ENGINES) if settings.engine == "both" else 1
    memory.require(f"Training {recipe.title}", (states + memory.size(params)) // parts)
    engine = ENGINES["autodiff" if settings.engine == "autodiff" else "manual"](recipe)
    batch = jax.eval_shape(recipe.batch, train, rows, key)
    state = None if recipe.state is None else jax.eval_shape(recipe.state, params)
    step = memory.largest(engine.value_and_grad, params, state, batch)
    order = steps * memory.size(rows)
    memory.require(
        f"Training {recipe.title} with --batch-size {settings.batch_size}", states // parts + step + order
    )
