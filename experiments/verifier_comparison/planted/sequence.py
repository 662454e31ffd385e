"""Mistakes in embeddings and in rotary positions."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from .form import Original, Planted
from .planting import edited, normal, wide

PADDING = 0
"""The id whose embedding is zero, and learns nothing."""


def embedding(table, ids):
    chosen = jax.nn.one_hot(ids, len(table), dtype=table.dtype)
    return jnp.where((ids == PADDING)[:, None], 0, chosen @ table)


def embedding_fwd(table, ids):
    return jnp.where((ids != PADDING)[:, None], table[ids], 0), (jnp.zeros_like(table), ids)


def embedding_bwd(residuals, dy):
    zeros, ids = residuals
    return wide(zeros).at[ids].add(wide(dy)).at[PADDING].set(0).astype(dy.dtype), None


def _overwritten(residuals, dy):
    zeros, ids = residuals
    return zeros.at[ids].set(dy).at[PADDING].set(0), None


def _padding_learns(residuals, dy):
    zeros, ids = residuals
    return wide(zeros).at[ids].add(wide(dy)).astype(dy.dtype), None


def _mean_of_repeats(residuals, dy, dtable, _):
    zeros, ids = residuals
    counts = jnp.bincount(ids, length=len(zeros))
    return (wide(dtable) / jnp.maximum(counts, 1).astype(wide(dtable).dtype)[:, None]).astype(dy.dtype), None


def _embedding_args(rng, realistic):
    if realistic:
        return normal(rng, 40, 64), np.append(rng.integers(0, 40, 62), [0, 0]).astype(np.int32)
    return normal(rng, 5, 3), np.array([3, 1, 0, 3, 2, 0, 3], np.int32)


# Rotary positions: at time t the pair of features i and i + width/2 is turned by t / 10000^(2i/width).


def rotary(x):
    batch, time, width = x.shape
    angles = _angles(np.arange(time), width)
    turns = np.array([[np.cos(angles), -np.sin(angles)], [np.sin(angles), np.cos(angles)]])
    pairs = x.reshape(batch, time, 2, width // 2)
    return jnp.einsum("ijtd,btjd->btid", jnp.asarray(turns, x.dtype), pairs).reshape(x.shape)


def _angles(times, width):
    return times[:, None] * 10000.0 ** (-2 * np.arange(width // 2) / width)[None]


def _rotate(x, sign, start=0, base_of=1):
    angles = _angles(np.arange(start, start + x.shape[1]), base_of * x.shape[2])[:, : x.shape[2] // 2]
    cos, sin = (jnp.asarray(f(angles), wide(x).dtype)[None] for f in (np.cos, np.sin))
    first, second = jnp.split(wide(x), 2, 2)
    y = jnp.concatenate([first * cos - sign * second * sin, second * cos + sign * first * sin], 2)
    return y.astype(x.dtype)


def rotary_fwd(x):
    return _rotate(x, 1), ()


def rotary_bwd(_, dy):
    return (_rotate(dy, -1),)


def _neighbouring_pairs(_, dy):
    apart = jnp.concatenate([dy[..., ::2], dy[..., 1::2]], 2)
    first, second = jnp.split(_rotate(apart, -1), 2, 2)
    return (jnp.stack([first, second], 3).reshape(dy.shape),)


def _rotary_args(rng, realistic):
    return (normal(rng, *((16, 24, 32) if realistic else (2, 5, 6))),)


ORIGINALS = {
    "embedding": Original(embedding_fwd, embedding_bwd, embedding, _embedding_args),
    "rotary": Original(rotary_fwd, rotary_bwd, rotary, _rotary_args),
}

_embedding = partial(Planted, "embedding", embedding_fwd)
_rotary = partial(Planted, "rotary", rotary_fwd)

MISTAKES = {
    "embedding: of repeated ids the last stays": _embedding(_overwritten, ("conditional",)),
    "embedding: the padding learns": _embedding(_padding_learns, ("conditional",)),
    "embedding: repeated ids are averaged": _embedding(
        edited(embedding_bwd, _mean_of_repeats), ("conditional", "reduction")
    ),
    "embedding: the rows one further": _embedding(
        edited(embedding_bwd, lambda r, dy, dtable, _: (jnp.roll(dtable, 1, 0), None)), ("shifted",)
    ),
    "embedding: the last id is left out": _embedding(
        lambda residuals, dy: embedding_bwd(residuals, dy.at[-1].set(0)), ("reduction", "conditional")
    ),
    "embedding: the ids have a cotangent": _embedding(
        edited(embedding_bwd, lambda r, dy, dtable, _: (dtable, jnp.zeros(r[1].shape, dy.dtype))),
        ("structure",),
    ),
    "rotary: the backward turns the same way": _rotary(lambda _, dy: (_rotate(dy, 1),), ("derivative",)),
    "rotary: the backward's positions begin with one": _rotary(
        lambda _, dy: (_rotate(dy, -1, start=1),), ("shifted",)
    ),
    "rotary: neighbouring features are paired": _rotary(_neighbouring_pairs, ("transposed",)),
    "rotary: the angles of twice the width": _rotary(
        lambda _, dy: (_rotate(dy, -1, base_of=2),), ("conditional",)
    ),
    "rotary: not turned back": _rotary(lambda _, dy: (dy,), ("derivative",)),
}
