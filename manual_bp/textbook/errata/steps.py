"""Backpropagation of a batch as six steps, so that a mistake can be told as one step gone wrong."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from manual_bp.textbook.columns import Layer, Network
from manual_bp.textbook.functions import sigmoid, sigmoid_derivative, softmax

Gradient = Callable[[Network, Array, Array], Network]
"""From a network, inputs X (I, B) and targets Y (O, B) to the gradient of the mean cost."""


class Steps(NamedTuple):
    """The steps in the order in which they are taken; hidden layers are sigmoids.

    affine(W, b, A)                          z of a layer (n, B) from the a before
    output(Z)                                a of the last layer
    output_delta(z, a, Y)                    its delta (n, B) from all the layers' z and a
    hidden_delta(layer, grad, D, Z, A)       delta of a layer from the next one's weights, gradient and
                                             delta, and from its own z and a
    weight_gradient(D, A_before, Z, W)       dW summed over the batch
    bias_gradient(D)                         db summed over the batch
    """

    output: Callable[[Array], Array]
    output_delta: Callable[[Sequence[Array], Sequence[Array], Array], Array]
    affine: Callable[[Array, Array, Array], Array] = lambda W, b, A: W @ A + b[:, None]
    hidden_delta: Callable[[Layer, Layer, Array, Array, Array], Array] = lambda layer, grad, D, Z, A: (
        (layer.W.T @ D) * sigmoid_derivative(Z)
    )
    weight_gradient: Callable[[Array, Array, Array, Array], Array] = lambda D, A_before, Z, W: D @ A_before.T
    bias_gradient: Callable[[Array], Array] = lambda D: jnp.sum(D, axis=1)


QUADRATIC = Steps(sigmoid, lambda z, a, Y: (a[-1] - Y) * sigmoid_derivative(z[-1]))
"""The right steps for 1/2 |a - y|^2 of sigmoids."""

CROSS_ENTROPY = Steps(softmax, lambda z, a, Y: a[-1] * jnp.sum(Y, axis=0, keepdims=True) - Y)
"""The right steps for the cross-entropy of a softmax."""


def by(steps: Steps, **wrong: Any) -> Gradient:
    """The gradient by `steps` with some of them replaced."""
    steps = steps._replace(**wrong)

    def gradient(layers: Network, X: Float[Array, "I B"], Y: Float[Array, "O B"]) -> Network:
        z, a = _states(steps, layers, X)
        D = steps.output_delta(z, a, Y)
        B = X.shape[1]
        grads = []
        for k in reversed(range(len(layers))):
            dW = steps.weight_gradient(D, a[k], z[k], layers[k].W) / B
            grads.append(Layer(dW, steps.bias_gradient(D) / B))
            if k > 0:
                D = steps.hidden_delta(layers[k], grads[-1], D, z[k - 1], a[k])
        return tuple(reversed(grads))

    return gradient


def output(steps: Steps, layers: Network, X: Float[Array, "I B"]) -> Float[Array, "O B"]:
    """The output of the last layer."""
    return _states(steps, layers, X)[1][-1]


def _states(steps: Steps, layers: Network, X: Array) -> tuple[list[Array], list[Array]]:
    z, a = [], [X]
    for k, (W, b) in enumerate(layers, start=1):
        z.append(steps.affine(W, b, a[-1]))
        a.append(steps.output(z[-1]) if k == len(layers) else sigmoid(z[-1]))
    return z, a
