"""The errors of note 003, paths: wrong gradients, and its code."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manual_bp import checks
from manual_bp.textbook import functions
from manual_bp.textbook.columns import Layer, Network
from manual_bp.textbook.errata.mistake import Mistake, WrongFunction
from manual_bp.textbook.errata.steps import CROSS_ENTROPY, QUADRATIC, by
from manual_bp.textbook.functions import sigmoid, sigmoid_derivative, softmax
from manual_bp.textbook.paths import softmax_rows


def printed_matrix(W: Float[Array, "n m"]) -> Float[Array, "n m"]:
    """A square matrix with its last column for its last row; any other as it is."""
    return W.at[-1].set(W[:, -1]) if W.shape[0] == W.shape[1] else W


def printed_sigmoid(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """1/(1 + e^-x): e^-x overflows for x below -710 in float64, -89 in float32."""
    return 1 / (1 + jnp.exp(-x))


def printed_softmax(L: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
    """e^i over the sum of the whole of e^L, for every i of the first axis."""
    return jnp.stack([jnp.exp(i) / jnp.exp(L).sum() for i in L])


def printed_softmax_formula(x: Float[Array, "n ..."]) -> Float[Array, "n ..."]:
    """e^x_i / sum_j x_j, for each column."""
    return jnp.exp(x) / jnp.sum(x, axis=0, keepdims=True)


def _one_path(layer: Layer, grad: Layer, D: Array, Z: Array, A: Array) -> Array:
    return layer.W[0][:, None] * D[0][None, :] * sigmoid_derivative(Z)


def _last_row_transposed(layers: Network, X: Array, Y: Array) -> Network:
    return by(QUADRATIC)(tuple(Layer(printed_matrix(W), b) for W, b in layers), X, Y)


def _without_output_layer(layers: Network, X: Array, Y: Array) -> Network:
    *hidden, last = layers
    width = last.W.shape[1]
    wanted = f"{width}, the width of the last hidden layer, which is the output here"
    checks.option("003 output layer left out", "the number of outputs", len(Y), len(Y) == width, wanted)
    as_output = by(
        CROSS_ENTROPY,
        output=lambda Z: softmax(sigmoid(Z)),
        output_delta=lambda z, a, Y: CROSS_ENTROPY.output_delta(z, a, Y) * sigmoid_derivative(z[-1]),
    )
    return (*as_output(tuple(hidden), X, Y), jax.tree.map(jnp.zeros_like, last))


MISTAKES = {
    "003 one path": Mistake(
        "003, the derivative by W_111",
        "dL/dW_111 as one product, by the first neuron of every later layer",
        "the sum over all paths",
        "right where all later widths are 1, else one term of many",
        by(QUADRATIC, hidden_delta=_one_path),
    ),
    "003 last row transposed": Mistake(
        "003, the matrix W_1",
        "the last row of W_1 as w_1n, w_2n, ..., w_nn",
        "w_n1, w_n2, ..., w_nn",
        "square layers have their last column for their last row",
        _last_row_transposed,
    ),
    "003 output layer left out": Mistake(
        "003, the output",
        "yhat = O(h_1)",
        "yhat = O(W_2 h_1 + b_2)",
        "the last layer's gradient is 0, the others' is that of another network",
        _without_output_layer,
        "softmax",
        "cross_entropy",
    ),
    "003 softmax denominator": Mistake(
        "003, the formula of softmax",
        "e^x_i / sum_j x_j",
        "e^x_i / sum_j e^x_j",
        "outputs times sum e^x / sum x, of any sign and size",
        by(CROSS_ENTROPY, output=printed_softmax_formula),
        "softmax",
        "cross_entropy",
    ),
    "003 softmax over the batch": Mistake(
        "003, the code of softmax",
        "np.exp(i) / np.exp(L).sum() for a batch L",
        "a sum for every example",
        "outputs sum to 1 over the batch, not for every example",
        by(CROSS_ENTROPY, output=printed_softmax),
        "softmax",
        "cross_entropy",
    ),
}

FUNCTIONS = {
    "003 sigmoid code": WrongFunction(
        "003, the code of the sigmoid",
        "1 / (1 + np.exp(-x))",
        "by e^-|x|",
        "e^-x overflows; the value is right, its derivative by autodiff is NaN",
        printed_sigmoid,
        functions.sigmoid,
    ),
    "003 softmax code": WrongFunction(
        "003, the code of softmax",
        "np.exp(i) / np.exp(L).sum()",
        "the largest entry subtracted first, a sum for every row",
        "NaN at [1000, 1001]; the rows of a batch sum to 1 together, not each",
        printed_softmax,
        softmax_rows,
    ),
    "003 softmax formula": WrongFunction(
        "003, the formula of softmax",
        "e^x_i / sum_j x_j",
        "e^x_i / sum_j e^x_j",
        "times sum e^x / sum x",
        printed_softmax_formula,
        functions.softmax,
    ),
    "003 first matrix": WrongFunction(
        "003, the matrix W_1",
        "the last row of W_1 as w_1n, w_2n, ..., w_nn",
        "w_n1, w_n2, ..., w_nn",
        "the last row is the last column",
        printed_matrix,
        lambda W: W,
    ),
}
