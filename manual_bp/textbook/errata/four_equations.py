"""The errors of note 004, four equations: wrong gradients, and its cost."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manual_bp import checks
from manual_bp.textbook import functions
from manual_bp.textbook.columns import Layer, Network
from manual_bp.textbook.errata.mistake import Mistake, WrongFunction
from manual_bp.textbook.errata.steps import QUADRATIC, by, output
from manual_bp.textbook.functions import sigmoid_derivative, softmax

right = by(QUADRATIC)


def printed_cost(a: Float[Array, " n"], y: Float[Array, " n"]) -> Float[Array, " n"]:
    """1/2 (y - a)^2, which for vectors is no number."""
    return jnp.square(y - a) / 2


def _other_layer(z: Sequence[Array], a: Sequence[Array], Y: Array) -> Array:
    hidden = len(z[-2]) if len(z) > 1 else 0
    wanted = f"{len(Y)}, the number of outputs"
    checks.option(
        "004 z of another layer", "width of the last hidden layer", hidden, hidden == len(Y), wanted
    )
    return (a[-1] - Y) * sigmoid_derivative(z[-2])


def _other_index(D: Array, A_before: Array, Z: Array, W: Array) -> Array:
    if W.shape[0] != W.shape[1]:
        return D @ A_before.T
    return jnp.broadcast_to(jnp.sum(A_before * D, axis=1)[:, None], W.shape)


def _sum_from_2(layer: Layer, grad: Layer, D: Array, Z: Array, A: Array) -> Array:
    return (layer.W[1:].T @ D[1:]) * sigmoid_derivative(Z)


def _derivative_is_the_error(layers: Network, X: Array, Y: Array) -> Network:
    *hidden, last = right(layers, X, Y)
    E = jnp.mean(jax.vmap(functions.quadratic, in_axes=1)(output(QUADRATIC, layers, X), Y))
    return (*hidden, last._replace(W=jnp.full_like(last.W, E)))


MISTAKES = {
    "004 z of another layer": Mistake(
        "004, equation 1",
        "e^[L] = dc/da^[L] * g'(z^[l]), read as l = L-1",
        "g'(z^[L])",
        "output error times g'(z^[L-1])/g'(z^[L])",
        by(QUADRATIC, output_delta=_other_layer),
    ),
    "004 equation 1 with softmax": Mistake(
        "004, equation 1",
        "e_j = dc/da_j g'(z_j) with softmax and quadratic cost",
        "e = J^T dc/da",
        "lacks - a_j sum_(k != j) a_k (a_k - y_k)",
        by(QUADRATIC, output=softmax, output_delta=lambda z, a, Y: (a[-1] - Y) * a[-1] * (1 - a[-1])),
        "softmax",
    ),
    "004 index of a": Mistake(
        "004, equation 4",
        "dc/dw_jk = a_jk e_j, read as a_j on a square layer",
        "a_k e_j",
        "dw_jk times a_j/a_k",
        by(QUADRATIC, weight_gradient=_other_index),
    ),
    "004 sum from 2": Mistake(
        "004, proof of equation 2",
        "the sum over the next layer from k = 2",
        "from k = 1",
        "lacks the term w_1j e_1 g'(z_j)",
        by(QUADRATIC, hidden_delta=_sum_from_2),
    ),
    "004 derivative equated with E": Mistake(
        "004, left over below",
        "dE/dw_jk = 1/2 sum_k (a_k - t_k)^2",
        "(a_k - t_k) g'(z_k) a_j",
        "every weight of the last layer has E for its derivative",
        _derivative_is_the_error,
    ),
}

FUNCTIONS = {
    "004 cost of a vector": WrongFunction(
        "004, quadratic cost",
        "1/2 (y - a)^2",
        "1/2 |y - a|^2",
        "a vector, whose sum is the cost",
        printed_cost,
        functions.quadratic,
    ),
}
