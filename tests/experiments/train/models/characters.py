"""A throw-away model of text: the next character of one line by residual layers stacked under a scan."""

import dataclasses
from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.train import settings
from experiments.train.recipe import Metric, Recipe
from manual_bp import losses
from manual_bp.ops import activations, dense

LINE = "the quick brown fox jumps over the lazy dog; pack my box with five dozen liquor jugs. " * 6
LETTERS = sorted(set(LINE))
FEATURES, LAYERS, WINDOW, KEPT = 16, 7, 5, 0.9


class Params(NamedTuple):
    embedding: jax.Array
    blocks: dense.Params
    head: dense.Params


class Split(NamedTuple):
    text: str


class Dataset(NamedTuple):
    train: Split
    test: Split


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(settings.Settings):
    """Does a model of text train as others do?"""

    data: str = "line"
    model: str = "characters"
    epochs: int = 3
    round_steps: int | None = 20


def init(key, dtype):
    keys = jax.random.split(key, LAYERS + 2)
    blocks = [dense.init(k, FEATURES, FEATURES, dtype=dtype) for k in keys[2:]]
    return Params(
        jax.random.normal(keys[0], (len(LETTERS), FEATURES), dtype),
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *blocks),
        dense.init(keys[1], FEATURES, len(LETTERS), dtype=dtype),
    )


def fwd(params, ids, noise):
    def block(x, layer):
        z, res_dense = dense.fwd(layer, x)
        a, res_tanh = activations.tanh.fwd(z)
        return x + a, (res_dense, res_tanh)

    x, res_blocks = jax.lax.scan(block, params.embedding[ids] * noise, params.blocks)
    logits, res_head = dense.fwd(params.head, x)
    return logits, (ids, noise, res_blocks, res_head)


def value_and_grad(params, batch):
    ids, following, noise = batch
    logits, (ids, noise, res_blocks, res_head) = fwd(params, ids, noise)
    cost, dlogits = losses.mean("softmax_cross_entropy", logits, following)
    dhead, dx = dense.bwd(params.head, res_head, dlogits)

    def block(dx, layer_and_res):
        layer, (res_dense, res_tanh) = layer_and_res
        dz = activations.tanh.bwd(res_tanh, dx)
        dlayer, da = dense.bwd(layer, res_dense, dz)
        return dx + da, dlayer  # x feeds the layer and the skip

    dx, dblocks = jax.lax.scan(block, dx, (params.blocks, res_blocks), reverse=True)
    return cost, Params(jnp.zeros_like(params.embedding).at[ids].add(dx * noise), dblocks, dhead)


def apply(params, ids, noise):
    def block(x, layer):
        return x + jnp.tanh(x @ layer.w + layer.b), None

    x, _ = jax.lax.scan(block, params.embedding[ids] * noise, params.blocks)
    return x @ params.head.w + params.head.b


def loss(params, batch):
    ids, following, noise = batch
    log_p = jax.nn.log_softmax(apply(params, ids, noise))
    return -jnp.mean(jnp.take_along_axis(log_p, following[..., None], -1))


def load(settings):
    return Dataset(Split(LINE), Split(LINE[:87]))


def recipe(settings, dataset):
    dtype = jnp.dtype(settings.dtype)

    def batch(text, rows, key):
        """Windows of text, with dropout of the embedded features."""
        ids = text[rows[:, None] + jnp.arange(WINDOW)[None]]
        noise = jax.random.bernoulli(key, KEPT, (*ids[:, 1:].shape, FEATURES)).astype(dtype) / KEPT
        return ids[:, :-1], ids[:, 1:], noise.astype(dtype)

    def metrics(model, text):
        ids = text[None]
        mean = model.loss((ids[:, :-1], ids[:, 1:], jnp.ones((1, 1, FEATURES), dtype)))
        return {"test_loss": mean, "perplexity": jnp.exp(mean)}

    def sample(model, key):
        def following(last, key):
            logits = model.apply(last[None], jnp.ones((1, FEATURES), dtype))[0]
            new = jax.random.categorical(key, logits).astype(jnp.int32)
            return new, new

        return jax.lax.scan(following, jnp.int32(0), jax.random.split(key, 40))[1]

    return Recipe(
        pair=SimpleNamespace(fwd=fwd, value_and_grad=value_and_grad),
        reference=SimpleNamespace(apply=apply, loss=loss),
        title="characters",
        init=lambda key: init(key, dtype),
        static={},
        arrays=lambda split: jnp.asarray([LETTERS.index(letter) for letter in split.text], jnp.int32),
        count=lambda text: len(text) - WINDOW + 1,
        batch=batch,
        metrics=metrics,
        shown={
            "test_loss": Metric("test loss", "nats per character", "{:.4f}", "test loss {:.2f}"),
            "perplexity": Metric("perplexity", "characters", "{:.2f}"),
        },
        sample=sample,
        text=lambda ids: "".join(LETTERS[i] for i in np.asarray(ids)),
        stacked=frozenset({"blocks"}),
        probe=64,
    )
