r"""Matrix form, without biases: note 000, "Backpropagation - Matrix Form" by Benji Peng.

Layers k = 1..L, W_k (n_k, n_(k-1)), columns x_k (n_k,).

    x_k = f(W_k x_(k-1)),   x_L = f_L(W_L x_(L-1))                       (1)
    E = 1/2 |z - t|^2 for one instance, z = x_L                          (2)
    E = 1/2 sum_i |z_i - t_i|^2 for a batch: the sum, no 1/N             (3)
    w <- w - alpha_w dE/dw, one learning rate for each weight            (4)
    dz/dx = dz/dy dy/dx: the Jacobians multiply, in this order           (5)

    delta_L = J_L^T dE/dx_L  =  (x_L - t) * f_L'(W_L x_(L-1))            (6)
    delta_k = (W_(k+1)^T delta_(k+1)) * f'(W_k x_(k-1))                  (7)
    dE/dW_k = delta_k x_(k-1)^T                                          (8)
    dE/dW_L = sum_i (x_L - t)_i dx_Li/dW_L, a tensor with indices i,j,k  (9)

(6), left, holds for every f_L with the Jacobian J_L; right, for (2) and an elementwise f_L. The batch's
gradient is the sum of the single ones by (3): B times that of a mean.

Printed: dE/dW_3 = (x_3 - t) dx_3/dW_3, which is no product of matrices; correct: (9), or (6) and (8), where
the factor f_3' appears. Printed: the batch sum without its index i; correct: (3). Printed: z for the output
in E, x_3 in the network, and z again in the chain rule; here z = x_L only. The text adds a bias that the
equations do not have; neither have these.
"""

from collections.abc import Sequence
from functools import reduce

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from manual_bp.textbook.columns import check, check_batch
from manual_bp.textbook.functions import ACTIVATIONS, COSTS, OUTPUTS, quadratic

Matrices = Sequence[Float[Array, "O I"]]


def forward(
    W: Matrices, x0: Float[Array, " I"], *, activation: str = "sigmoid", output: str = "sigmoid"
) -> tuple[Float[Array, " n"], ...]:
    """All of x_0, x_1, ..., x_L."""
    f, f_out = ACTIVATIONS[activation].value, OUTPUTS[output].value
    x = [x0]
    for k, w in enumerate(W, start=1):
        x.append((f if k < len(W) else f_out)(w @ x[-1]))  # (1)
    return tuple(x)


def squared_error(z: Float[Array, " O"], t: Float[Array, " O"]) -> Float[Array, ""]:
    """E of one instance."""
    return quadratic(z, t)  # (2)


def batch_squared_error(Z: Float[Array, "O B"], T: Float[Array, "O B"]) -> Float[Array, ""]:
    """E of a batch with its instances as columns."""
    return jnp.sum(jax.vmap(squared_error, in_axes=1)(Z, T))  # (3)


def squared_error_gradient(z: Float[Array, " O"], t: Float[Array, " O"]) -> Float[Array, " O"]:
    """dE/dz = z - t of one instance."""
    return z - t


def gradient(
    W: Matrices,
    x0: Float[Array, " I"],
    t: Float[Array, " O"],
    *,
    activation: str = "sigmoid",
    output: str = "sigmoid",
    cost: str = "quadratic",
) -> tuple[Float[Array, "O I"], ...]:
    """dE/dW_k of every layer, for one instance."""
    names = {"activation": activation, "output": output}
    check("matrix_form", W, None, x0, t, **names, cost=cost)
    x = forward(W, x0, **names)
    delta = OUTPUTS[output].J(W[-1] @ x[-2]).T @ COSTS[cost].gradient(x[-1], t)  # (6)
    dW = [jnp.outer(delta, x[-2])]  # (8)
    for k in reversed(range(1, len(W))):
        delta = (W[k].T @ delta) * ACTIVATIONS[activation].derivative(W[k - 1] @ x[k - 1])  # (7)
        dW.append(jnp.outer(delta, x[k - 1]))  # (8)
    return tuple(reversed(dW))


def batch_gradient(
    W: Matrices,
    X0: Float[Array, "I B"],
    T: Float[Array, "O B"],
    *,
    activation: str = "sigmoid",
    output: str = "sigmoid",
    cost: str = "quadratic",
) -> tuple[Float[Array, "O I"], ...]:
    """The gradient of a batch's E, with its instances as columns: the sum of the single gradients."""
    names = {"activation": activation, "output": output, "cost": cost}
    check_batch("matrix_form", W, None, X0, T, **names)
    single = jax.vmap(lambda x0, t: gradient(W, x0, t, **names), in_axes=1)(X0, T)
    return jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), single)


def weight_jacobian(
    W: Float[Array, "O I"], x: Float[Array, " I"], *, output: str = "sigmoid"
) -> Float[Array, "O O I"]:
    """The tensor in (9): entry [i, j, k] is the derivative of output i of a layer by its weight W[j, k]."""
    return OUTPUTS[output].J(W @ x)[:, :, None] * x[None, None, :]


def tensor_reading(dE_dx: Float[Array, " O"], weight_jacobian: Float[Array, "O O I"]) -> Float[Array, "O I"]:
    """(9): the printed product, read as a sum over the output's index i."""
    return jnp.einsum("i,ijk->jk", dE_dx, weight_jacobian)


def layer_jacobian(
    W: Float[Array, "O I"], x: Float[Array, " I"], *, output: str = "sigmoid"
) -> Float[Array, "O I"]:
    """The derivative of f(W x) by x."""
    return OUTPUTS[output].J(W @ x) @ W


def chain(jacobians: Sequence[Float[Array, "O I"]]) -> Float[Array, "O I"]:
    """(5) for the Jacobians of functions given in the order in which they are applied, innermost first."""
    return reduce(lambda inner, outer: outer @ inner, jacobians)


def update(w: PyTree, dE_dw: PyTree, alpha: PyTree) -> PyTree:
    """(4): one step with `alpha`, a pytree of the weights' structure and shapes; 0 freezes a weight."""
    return jax.tree.map(lambda w, d, a: w - a * d, w, dE_dw, alpha)
