"""The loss of a small network of digits as a function of one vector, real or complex; and its gradient."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int

from manual_bp.models import mlp
from manual_bp.ops import dense

INPUTS, HIDDEN, OUTPUTS = 64, 20, 10
"""Widths of the network's layers; digits have 64 pixels and 10 classes."""

SIZES = INPUTS * HIDDEN, HIDDEN, HIDDEN * OUTPUTS, OUTPUTS
SCALES = np.repeat([INPUTS**-0.5, 0.5, HIDDEN**-0.5, 0.5], SIZES)
"""Size of the weights and biases in theta; random biases keep pre-activations from being exactly zero."""

ACTIVATIONS = {
    "sigmoid": lambda z: 1 / (1 + jnp.exp(-z)),  # by definition, as jax.nn.sigmoid takes no complex numbers
    "relu": lambda z: jnp.maximum(z, 0),
}


def as_params(theta: Array) -> mlp.Params:
    """The network whose parameters are the real or complex vector theta (P,)."""
    w1, b1, w2, b2 = jnp.split(theta, np.cumsum(SIZES[:-1]))
    return mlp.Params((dense.Params(w1.reshape(INPUTS, -1), b1), dense.Params(w2.reshape(-1, OUTPUTS), b2)))


def mean_loss(theta: Array, x: Float[Array, "B I"], labels: Int[Array, "B"], activation: str) -> Array:
    """The mean softmax cross-entropy as plain forward code, in the real or complex dtype of theta (P,)."""
    first, last = as_params(theta).layers
    z = affine(last, ACTIVATIONS[activation](affine(first, x.astype(theta.dtype))))
    z -= jnp.max(z.real, -1, keepdims=True).astype(z.dtype)
    target = jnp.take_along_axis(z, labels[:, None], -1)[:, 0]
    return jnp.mean(jnp.log(jnp.sum(jnp.exp(z), -1)) - target)


@partial(jax.jit, static_argnames="activation")
def truth(theta: Array, x: Array, labels: Array, activation: str) -> tuple[Array, Array, Array]:
    """`mean_loss` in float64, its hand-written gradient (P,) and |grad f| / P^(1/2)."""
    loss, gradients = mlp.value_and_grad(as_params(theta), (x, labels), activation=activation)
    gradient, _ = ravel_pytree(gradients)
    return loss, gradient, jnp.sqrt(jnp.mean(jnp.square(gradient)))


def affine(layer: dense.Params, a: Array) -> Array:
    """The pre-activations of a layer, whatever the dtype."""
    assert layer.b is not None
    return jnp.matmul(a, layer.w, precision="highest") + layer.b[None]
