"""The errors of note 000, matrix form, that make a wrong gradient."""

import jax.numpy as jnp
from jaxtyping import Array

from manual_bp.textbook.columns import Layer, Network
from manual_bp.textbook.errata.mistake import Mistake
from manual_bp.textbook.errata.steps import QUADRATIC, by, output

right = by(QUADRATIC)


def _without_output_derivative(layers: Network, X: Array, Y: Array) -> Network:
    *hidden, last = right(layers, X, Y)
    before = output(QUADRATIC, layers[:-1], X) if len(layers) > 1 else X
    e = output(QUADRATIC, layers, X) - Y
    return (*hidden, last._replace(W=e @ before.T / X.shape[1]))


def _without_bias(layers: Network, X: Array, Y: Array) -> Network:
    bare = tuple(layer._replace(b=jnp.zeros_like(layer.b)) for layer in layers)
    return tuple(Layer(dW, jnp.zeros_like(db)) for dW, db in right(bare, X, Y))


def _last_instance(layers: Network, X: Array, Y: Array) -> Network:
    return right(layers, X[:, -1:], Y[:, -1:])


MISTAKES = {
    "000 output derivative missing": Mistake(
        "000, last equation",
        "dE/dW3 = (x3 - t) dx3/dW3, as the only product of matrices that fits: (x3 - t) x2^T",
        "[(x3 - t) * f3'(W3 x2)] x2^T",
        "row i of dW3 divided by f3'(z_i): 4 times or more too large",
        _without_output_derivative,
    ),
    "000 bias of the text missing": Mistake(
        "000, forward propagation",
        "x1 = f(W1 x0), where the text adds a bias",
        "x1 = f(W1 x0 + b1)",
        "the gradient of the network with b = 0; db = 0",
        _without_bias,
    ),
    "000 sum without its index": Mistake(
        "000, batch loss",
        "E = 1/2 sum over the batch of |z_i - t_i|^2 with i bound nowhere: every term is the last instance",
        "i runs over the batch",
        "the gradient of the last instance for that of the mean",
        _last_instance,
    ),
    "000 output read as z": Mistake(
        "000, loss",
        "E = 1/2 |z - t|^2, with z for the pre-activation as in the other notes",
        "z is the output x3",
        "output delta z - t for (x3 - t) f3'(z)",
        by(QUADRATIC, output_delta=lambda z, a, Y: z[-1] - Y),
    ),
}
