r"""Two passes: note 001, "Backpropagation", which names no author.

Columns; w_jk from input k to neuron j with input z_j and output a_j.

    theta = (w_1, w_2, ..., b_1, b_2, ...),  theta_1 = theta_0 - eta grad L(theta_0)      (1)
    L = (1/N) sum over the examples of l                                                  (2)
    dl/dw = dz/dw dl/dz,   dl/db = dz/db dl/dz                                            (3)

Forward pass, the first factor of (3):

    dz_j/dw_jk = the value that feeds the weight: x_k, or a_k of the layer before         (4)
    dz_j/db_j = 1                                                                         (5)

Backward pass, the second one:

    dl/dz_j = sum_k dy_k/dz_j dl/dy_k     in the output layer                             (6)
    dl/da_j = sum_k w_kj dl/dz_k          over all the neurons k that a_j feeds           (7)
    dl/dz_j = s'(z_j) dl/da_j             in the others                                   (8)

Printed: dl/dz_1 = dy_1/dz_1 dl/dy_1; that is (6) only where the output acts elementwise. With softmax and
cross-entropy it is 0 on every wrong class, and right on the true one. Printed: L of all and l of one
example, without a link; here (2). (5) is not printed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manual_bp import checks
from manual_bp.textbook.columns import Layer, Network, check, check_batch, mean
from manual_bp.textbook.functions import ACTIVATIONS, COSTS, OUTPUTS


class Forward(NamedTuple):
    """Of every layer: z (n_out,), dz/dw (n_in,), the same for all its neurons, and dz/db (n_out,)."""

    z: tuple[Float[Array, " O"], ...]
    dz_dw: tuple[Float[Array, " I"], ...]
    dz_db: tuple[Float[Array, " O"], ...]


def flatten(layers: Sequence[Layer]) -> Float[Array, " P"]:
    """Theta: all weights, layer by layer and row by row, then all biases."""
    parts = [layer.W.ravel() for layer in layers] + [layer.b for layer in layers]
    return jnp.concatenate(parts)


def unflatten(theta: Float[Array, " P"], like: Sequence[Layer]) -> Network:
    """The network with the shapes of `like` whose parameters are `theta`."""
    leaves = [layer.W for layer in like] + [layer.b for layer in like]
    checks.shape("unflatten", "theta", theta, (sum(leaf.size for leaf in leaves),), ", all the parameters")
    parts, start = [], 0
    for leaf in leaves:
        parts.append(theta[start : start + leaf.size].reshape(leaf.shape))
        start += leaf.size
    return tuple(map(Layer, parts[: len(like)], parts[len(like) :]))


def descend(theta: Float[Array, " P"], grad: Float[Array, " P"], eta: float) -> Float[Array, " P"]:
    """One step of gradient descent."""
    return theta - eta * grad  # (1)


def forward_pass(layers: Sequence[Layer], x: Float[Array, " I"], *, activation: str = "sigmoid") -> Forward:
    """What (3) needs of the way forward, from the first layer to the last."""
    z, feeds = [], [x]
    for layer in layers:
        z.append(layer.W @ feeds[-1] + layer.b)
        feeds.append(ACTIVATIONS[activation].value(z[-1]))
    return Forward(tuple(z), tuple(feeds[:-1]), tuple(map(jnp.ones_like, z)))  # (4), (5)


def fan_out(w: Float[Array, " K"], dl_dz: Float[Array, " K"]) -> Float[Array, ""]:
    """(7) for one value that feeds K neurons by the weights `w`."""
    return jnp.sum(w * dl_dz)


def output_rule(z: Float[Array, " O"], dl_dy: Float[Array, " O"], *, output: str) -> Float[Array, " O"]:
    """(6), with every output's derivative by every z."""
    dy_dz = OUTPUTS[output].J(z)
    return jnp.sum(dy_dz * dl_dy[:, None], axis=0)


def backward_pass(
    layers: Sequence[Layer],
    z: Sequence[Float[Array, " n"]],
    y: Float[Array, " O"],
    *,
    activation: str = "sigmoid",
    output: str = "sigmoid",
    cost: str = "quadratic",
) -> tuple[Float[Array, " n"], ...]:
    """dl/dz of every layer, from the first to the last, for the target `y`."""
    dl_dy = COSTS[cost].gradient(OUTPUTS[output].value(z[-1]), y)
    dl_dz = [output_rule(z[-1], dl_dy, output=output)]  # (6)
    for k in reversed(range(len(layers) - 1)):
        dl_da = jax.vmap(fan_out, in_axes=(1, None))(layers[k + 1].W, dl_dz[-1])  # (7), for each column of w
        dl_dz.append(ACTIVATIONS[activation].derivative(z[k]) * dl_da)  # (8)
    return tuple(reversed(dl_dz))


def gradient(
    layers: Sequence[Layer],
    x: Float[Array, " I"],
    y: Float[Array, " O"],
    *,
    activation: str = "sigmoid",
    output: str = "sigmoid",
    cost: str = "quadratic",
) -> Network:
    """The gradient of l, the cost of one example."""
    names = {"activation": activation, "output": output, "cost": cost}
    check("two_passes", [w for w, _ in layers], [b for _, b in layers], x, y, **names)
    ahead = forward_pass(layers, x, activation=activation)
    dl_dz = backward_pass(layers, ahead.z, y, **names)
    return tuple(
        Layer(jnp.outer(dl, dz_dw), dz_db * dl)  # (3)
        for dl, dz_dw, dz_db in zip(dl_dz, ahead.dz_dw, ahead.dz_db, strict=True)
    )


def total_gradient(
    layers: Sequence[Layer],
    X: Float[Array, "I N"],
    Y: Float[Array, "O N"],
    *,
    activation: str = "sigmoid",
    output: str = "sigmoid",
    cost: str = "quadratic",
) -> Network:
    """The gradient of L, the mean of l over examples in columns."""
    names = {"activation": activation, "output": output, "cost": cost}
    check_batch("two_passes", [w for w, _ in layers], [b for _, b in layers], X, Y, **names)
    return mean(jax.vmap(lambda x, y: gradient(layers, x, y, **names), in_axes=1)(X, Y))  # (2)
