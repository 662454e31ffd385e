"""Multi-layer perceptron, as a JAX user writes it."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float

from jax_ref.ops import (
    activations,
    dense,
    huber,
    sigmoid_cross_entropy,
    softmax_cross_entropy,
    squared_error,
)

LOSSES = {
    "huber": huber.apply,
    "sigmoid_cross_entropy": sigmoid_cross_entropy.apply,
    "softmax_cross_entropy": softmax_cross_entropy.apply,
    "squared_error": squared_error.apply,
}


@runtime_checkable
class Params(Protocol):
    """Anything with `layers`, a sequence of `dense` params from input to output."""

    @property
    def layers(self) -> Sequence[dense.Params]:
        """The layers."""
        ...


def apply(
    params: Params,
    x: Float[Array, "*B I"],
    *,
    activation: str = "relu",
    output_activation: str = "identity",
) -> Float[Array, "*B O"]:
    """The output of the last layer."""
    *hidden, last = params.layers
    for layer in hidden:
        x = getattr(activations, activation)(dense.apply(layer, x))
    return getattr(activations, output_activation)(dense.apply(last, x))


def loss(
    params: Params,
    batch: tuple[Float[Array, "*B I"], Array],
    *,
    activation: str = "relu",
    output_activation: str = "identity",
    loss: str = "softmax_cross_entropy",
) -> Float[Array, ""]:
    """The mean of the named loss over a batch `(x, targets)`."""
    x, targets = batch
    y = apply(params, x, activation=activation, output_activation=output_activation)
    return jnp.mean(LOSSES[loss](y, targets))
