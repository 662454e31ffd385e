"""The functions of the notes: activations and their derivatives, outputs and their Jacobians, costs.

A column is a vector (n,), a batch of columns (n, B). Outputs act along the first axis.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

Column = Float[Array, " n"]
Columns = Float[Array, "n ..."]


class Activation(NamedTuple):
    """An elementwise function of z, and its derivative there."""

    value: Callable[[Array], Array]
    derivative: Callable[[Array], Array]


class Output(NamedTuple):
    """The last layer's function, and its Jacobian (n, n) at one column z: entry [k, j] is da_k/dz_j."""

    value: Callable[[Array], Array]
    J: Callable[[Array], Array]


class Cost(NamedTuple):
    """The cost of one output a for one target y, both columns, and its gradient (n,) by a."""

    value: Callable[[Array, Array], Array]
    gradient: Callable[[Array, Array], Array]


def sigmoid(z: Columns) -> Columns:
    """1/(1 + e^-z), with e to a negative power only, so that nothing overflows."""
    e = jnp.exp(-jnp.abs(z))
    return jnp.where(z >= 0, 1, e) / (1 + e)


def sigmoid_derivative(z: Columns) -> Columns:
    """s(z) (1 - s(z)) = s(z) s(-z), which keeps its digits in both tails."""
    return sigmoid(z) * sigmoid(-z)


def tanh_derivative(z: Columns) -> Columns:
    """(1 + tanh z) (1 - tanh z)."""
    a = jnp.tanh(z)
    return (1 + a) * (1 - a)


def relu(z: Columns) -> Columns:
    """max(z, 0)."""
    return jnp.maximum(z, 0)


def relu_derivative(z: Columns) -> Columns:
    """1 where z > 0, else 0, also at the kink."""
    return (z > 0).astype(z.dtype)


def softmax(z: Columns) -> Columns:
    """e^z_i / sum_j e^z_j for each column; the largest entry is subtracted first, so nothing overflows."""
    e = jnp.exp(z - jnp.max(z, axis=0, keepdims=True))
    return e / jnp.sum(e, axis=0, keepdims=True)


def softmax_jacobian(z: Column) -> Float[Array, "n n"]:
    """da_k/dz_j = a_k ([k = j] - a_j)."""
    a = softmax(z)
    return jnp.diag(a) - jnp.outer(a, a)


def quadratic(a: Column, y: Column) -> Float[Array, ""]:
    """Half the squared norm of a - y."""
    return jnp.sum(jnp.square(a - y)) / 2


def mean_squares(a: Column, y: Column) -> Float[Array, ""]:
    """The mean over the m entries of (a - y)^2: 2/m times the quadratic cost."""
    return jnp.mean(jnp.square(a - y))


def cross_entropy(a: Column, y: Column) -> Float[Array, ""]:
    """- sum_i y_i log a_i; an entry with y_i = 0 counts 0 whatever a_i is."""
    return -jnp.sum(jnp.where(y == 0, 0, y * jnp.log(jnp.where(y == 0, 1, a))))


def cross_entropy_gradient(a: Column, y: Column) -> Column:
    """-y/a; infinite where a class that counts has probability 0."""
    return jnp.where(y == 0, 0, -y / jnp.where(y == 0, 1, a))


ACTIVATIONS = {
    "identity": Activation(lambda z: z, jnp.ones_like),
    "relu": Activation(relu, relu_derivative),
    "sigmoid": Activation(sigmoid, sigmoid_derivative),
    "tanh": Activation(jnp.tanh, tanh_derivative),
}

OUTPUTS = {
    "identity": Output(lambda z: z, lambda z: jnp.eye(len(z), dtype=z.dtype)),
    "sigmoid": Output(sigmoid, lambda z: jnp.diag(sigmoid_derivative(z))),
    "softmax": Output(softmax, softmax_jacobian),
    "tanh": Output(jnp.tanh, lambda z: jnp.diag(tanh_derivative(z))),
}

COSTS = {
    "cross_entropy": Cost(cross_entropy, cross_entropy_gradient),
    "mean_squares": Cost(mean_squares, lambda a, y: 2 * (a - y) / len(a)),
    "quadratic": Cost(quadratic, lambda a, y: a - y),
}
