"""A throw-away model with a state: digits by a linear map of what is left of them after a running mean."""

import dataclasses
from types import SimpleNamespace

import jax
import jax.numpy as jnp

from experiments import data
from experiments.train import settings
from experiments.train.recipe import ACCURACY, LOSS, Recipe
from manual_bp import losses
from manual_bp.ops import dense

MOMENTUM = 0.9


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(settings.Settings):
    """Does a model with a state train as others do?"""

    data: str = "digits"
    model: str = "running_mean"
    optimizer: str = "sgd"
    learning_rate: float = 0.5
    weight_decay: float = 0.0
    epochs: int = 3


def moved(state, x):
    return MOMENTUM * state + (1 - MOMENTUM) * jnp.mean(x, 0)


def fwd(params, state, x):
    return dense.fwd(params, x - state[None])


def value_and_grad(params, state, batch):
    x, labels = batch
    y, res = fwd(params, state, x)
    cost, dy = losses.mean("softmax_cross_entropy", y, labels)
    dparams, _ = dense.bwd(params, res, dy)
    return (cost, moved(state, x)), dparams


def apply(params, state, x):
    return (x - state[None]) @ params.w + params.b[None]


def loss(params, state, batch):
    x, labels = batch
    log_p = jax.nn.log_softmax(apply(params, state, x))
    return -jnp.mean(jnp.take_along_axis(log_p, labels[:, None], 1)), moved(state, x)


def load(settings):
    return data.rows(data.load(settings.data, settings.data_dir))


def recipe(settings, dataset):
    dtype = jnp.dtype(settings.dtype)

    def metrics(model, arrays):
        predicted = jnp.argmax(model.apply(arrays[0]), -1)
        return {"test_loss": model.loss(arrays), "test_accuracy": jnp.mean(predicted == arrays[1])}

    return Recipe(
        pair=SimpleNamespace(fwd=fwd, value_and_grad=value_and_grad),
        reference=SimpleNamespace(apply=apply, loss=loss),
        title="running mean",
        init=lambda key: dense.init(key, 64, 10, dtype=dtype),
        state=lambda params: jnp.zeros_like(params.w[:, 0]),
        static={},
        arrays=lambda split: (jnp.asarray(split.x, dtype), jnp.asarray(split.y)),
        count=lambda arrays: len(arrays[0]),
        batch=lambda arrays, rows, key: (arrays[0][rows], arrays[1][rows]),
        metrics=metrics,
        shown={"test_loss": LOSS, "test_accuracy": ACCURACY},
    )
