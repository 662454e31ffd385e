"""Recurrent language model, as a JAX user writes it."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from jax_ref.ops import dense, embedding, gru, lstm, rnn

CELLS = {"gru": gru.apply, "lstm": lstm.apply, "rnn": rnn.apply}


@runtime_checkable
class Params(Protocol):
    """Anything with an `embedding`, `layers`, a sequence of those of a cell, and a `head`."""

    @property
    def embedding(self) -> embedding.Params:
        """The rows of the characters."""
        ...

    @property
    def layers(self) -> Sequence[Any]:
        """The recurrent layers."""
        ...

    @property
    def head(self) -> dense.Params:
        """The map to the logits."""
        ...


def apply(
    params: Params, state: tuple[Any, ...], ids: Integer[Array, "B T"], *, cell: str = "lstm"
) -> tuple[Float[Array, "B T V"], tuple[Any, ...]]:
    """The logits of the character after each, and the state of each layer after the last."""
    h = embedding.apply(params.embedding, ids).astype(jax.tree.leaves(state)[0].dtype)
    after = []
    for layer, before in zip(params.layers, state, strict=True):
        h, final = CELLS[cell](layer, h, before)
        after.append(final)
    return dense.apply(params.head, h), tuple(after)


def loss(
    params: Params,
    state: tuple[Any, ...],
    batch: tuple[Integer[Array, "B T"], Integer[Array, "B T"]],
    *,
    cell: str = "lstm",
) -> tuple[Float[Array, ""], tuple[Any, ...]]:
    """The mean cross-entropy of the next characters `(ids, next)`, and the state for the next window."""
    ids, following = batch
    logits, after = apply(params, state, ids, cell=cell)
    log_p = jax.nn.log_softmax(logits)
    return -jnp.mean(jnp.take_along_axis(log_p, following[..., None], axis=-1)), after
