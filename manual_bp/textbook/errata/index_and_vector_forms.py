"""The errors of note 002, index and vector forms, that make a wrong gradient.

An index that is bound nowhere is read as a program would: it keeps its last value.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from manual_bp.textbook.columns import Layer, Network
from manual_bp.textbook.errata.mistake import Mistake
from manual_bp.textbook.errata.steps import CROSS_ENTROPY, QUADRATIC, by
from manual_bp.textbook.functions import sigmoid_derivative

ETA = 0.5
"""The learning rate of an update that comes too early."""

right = by(QUADRATIC)


def _sum_without_c(layers: Network, X: Array, Y: Array) -> Network:
    return jax.tree.map(lambda d: X.shape[1] * d, right(layers, X, Y))


def _bias_of_the_last_index(W: Array, b: Array, A: Array) -> Array:
    l = min(W.shape[1], len(b))  # JAX takes an index beyond the end for the last one
    return W @ A + b[l - 1]


def _limit_of_the_sum(W: Array, b: Array, A: Array) -> Array:
    limit = min(W.shape)
    return W[:, :limit] @ A[:limit] + b[:, None]


def _last_term_repeated(layer: Layer, grad: Layer, D: Array, Z: Array, A: Array) -> Array:
    return len(D) * layer.W[-1][:, None] * D[-1][None, :] * sigmoid_derivative(Z)


def _updated(layer: Layer, grad: Layer, D: Array, Z: Array, A: Array) -> Array:
    return ((layer.W - ETA * grad.W).T @ D) * sigmoid_derivative(Z)


MISTAKES = {
    "002 cost factor dropped": Mistake(
        "002, Gradient Descent; a classic: 1/B never counted",
        "dE/dw = sum_k dL_k/dw",
        "c sum_k dL_k/dw with c = 1/N",
        "N times too large",
        _sum_without_c,
    ),
    "002 bias with index l": Mistake(
        "002, Notations",
        "z_i = sum_l w_il a_l + b_l: after the sum l has its last value",
        "b_i",
        "every neuron of a layer has the bias of one of them",
        by(QUADRATIC, affine=_bias_of_the_last_index),
    ),
    "002 limit m_l in z": Mistake(
        "002, Notations",
        "the sum in z_i runs to the width of its own layer",
        "to the width of the layer before",
        "inputs beyond the layer's own width are left out, where there are more of them",
        by(QUADRATIC, affine=_limit_of_the_sum),
    ),
    "002 bias by an elementwise product": Mistake(
        "002, Loss Gradient",
        "dL/db = delta * dz/db, where dz/db = I",
        "I^T delta = delta",
        "a diagonal matrix for a vector",
        by(QUADRATIC, bias_gradient=lambda D: jnp.diag(jnp.sum(D, axis=1))),
    ),
    "002 index bound and free": Mistake(
        "002, Weight Gradient",
        "dz_i/dw_il = the derivative of a sum over l",
        "dz_i/dw_jm = [i = j] a_m",
        "each dW_il has the sum of all a for a_l",
        by(
            QUADRATIC,
            weight_gradient=lambda D, A, Z, W: jnp.broadcast_to((D @ jnp.sum(A, axis=0))[:, None], W.shape),
        ),
    ),
    "002 limit of the delta sum": Mistake(
        "002, Activation Gradient",
        "a sum over l = 1..m_j of terms with j: j keeps its last value",
        "j = 1..m_(k+1)",
        "m_(k+1) times the last term of the sum",
        by(QUADRATIC, hidden_delta=_last_term_repeated),
    ),
    "002 activation gradient": Mistake(
        "002, Preliminary Gradients and Activation Gradient",
        "da/dz = s'(z) and delta both called the activation gradient: s'(z) a^T",
        "delta a^T",
        "row i of dW times s'(z_i)/delta_i",
        by(QUADRATIC, weight_gradient=lambda D, A, Z, W: sigmoid_derivative(Z) @ A.T),
    ),
    "002 pre-activation gradient": Mistake(
        "002, Weight Gradient and Preliminary Gradients",
        "dz/dw = a and dz/da = w both called the pre-activation gradient: delta_i w_il",
        "delta_i a_l",
        "dW_il times w_il/a_l",
        by(QUADRATIC, weight_gradient=lambda D, A, Z, W: jnp.sum(D, axis=1)[:, None] * W),
    ),
    "002 delta of the mean of squares": Mistake(
        "002, Backward Pass, step 1",
        "(a - y) * s'(z) for the mean of squares",
        "2/m of it",
        "m/2 times too large, m the number of outputs",
        right,
        cost="mean_squares",
    ),
    "002 targets that do not sum to one": Mistake(
        "002, Backward Pass, step 1",
        "a - y",
        "a sum_j y_j - y",
        "the output delta is off by a (1 - sum y)",
        by(CROSS_ENTROPY, output_delta=lambda z, a, Y: a[-1] - Y),
        "softmax",
        "cross_entropy",
        lambda Y: Y * jnp.linspace(0.5, 2.0, Y.shape[1], dtype=Y.dtype)[None],
    ),
    "002 1/B twice": Mistake(
        "002, Batch; a classic",
        "(1/B) D A^T, with D the deltas of the mean loss",
        "D the deltas of each example's loss, or no 1/B",
        "B times too small",
        lambda layers, X, Y: jax.tree.map(lambda d: d / X.shape[1], right(layers, X, Y)),
    ),
    "002 update before propagating": Mistake(
        "002, Backward Pass, step 4; a classic",
        "the steps of a layer end with its update, before the delta of the layer below is formed",
        "all deltas by the old weights",
        "to first order in eta; the last layer is right",
        by(QUADRATIC, hidden_delta=_updated),
    ),
}
