"""Convolutional network, as a JAX user writes it."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from jax_ref.models import mlp
from jax_ref.ops import activations, batch_norm, conv, frozen_batch_norm, pool

State = tuple[tuple[Any, ...], ...]


@runtime_checkable
class Params(Protocol):
    """Anything with `blocks`, sequences of layers with `conv` and `norm`, and a `head` of dense layers."""

    @property
    def blocks(self) -> Sequence[Any]:
        """The blocks from input to output."""
        ...

    @property
    def head(self) -> mlp.Params:
        """The dense layers."""
        ...


def _batch_norm(params: Any, x: Array, running: Any, momentum: float) -> tuple[Array, Any]:
    y, statistics = batch_norm.apply(params, x)

    def moved(old: Array, new: Array) -> Array:
        return (momentum * old.astype(new.dtype) + (1 - momentum) * new).astype(old.dtype)

    return y, type(running)(*map(moved, running, statistics))


NORMS: dict[str, Callable[..., tuple[Array, Any]]] = {
    "batch_norm": _batch_norm,
    "frozen_batch_norm": lambda p, x, running, momentum: (frozen_batch_norm.apply(p, x, running), running),
    "none": lambda p, x, running, momentum: (x, None),
}


def apply(
    params: Params,
    state: State,
    x: Float[Array, "*B H W C"],
    *,
    activation: str = "relu",
    norm: str = "batch_norm",
    momentum: float = 0.9,
) -> tuple[Float[Array, "*B O"], State]:
    """The outputs, and the running statistics after this batch."""
    after = []
    for block, before in zip(params.blocks, state, strict=True):
        statistics = []
        for layer, running in zip(block, before, strict=True):
            z, moved = NORMS[norm](layer.norm, conv.apply(layer.conv, x), running, momentum)
            x = getattr(activations, activation)(z)
            statistics.append(moved)
        x = pool.max(x, window=(2, 2))
        after.append(tuple(statistics))
    return mlp.apply(params.head, x.reshape(*x.shape[:-3], -1), activation=activation), tuple(after)


def loss(
    params: Params,
    state: State,
    batch: tuple[Float[Array, "*B H W C"], Integer[Array, "*B"]],
    *,
    activation: str = "relu",
    norm: str = "batch_norm",
    momentum: float = 0.9,
) -> tuple[Float[Array, ""], State]:
    """The mean cross-entropy over a batch `(x, labels)`, and the state for the next one."""
    x, labels = batch
    y, after = apply(params, state, x, activation=activation, norm=norm, momentum=momentum)
    log_p = jax.nn.log_softmax(y)
    return -jnp.mean(jnp.take_along_axis(log_p, labels[..., None], axis=-1)), after
