r"""One weight's paths: note 003, "Backpropogation", which names no author.

Here a is the pre-activation and h the activation; h_0 = x.

    a_l = W_l h_(l-1) + b_l                                                             (1)
    h_l = g(a_l),   l < L                                                               (2)
    yhat = O(a_L)                                                                       (3)
    theta_(t+1) = theta_t - eta grad L(theta_t)                                         (4)

W_lij is the weight from neuron j of layer l-1 to neuron i of layer l. Between it and the loss lie all the
routes i_l = i, i_(l+1), ..., i_L, o: one neuron of each later layer, and one output o, which differs from
i_L where O mixes, as softmax does. Along each of them the chain rule multiplies

    dL/dyhat_o  dyhat_o/da_L   da_L/dh_(L-1)  dh_(L-1)/da_(L-1)  ...  da_(l+1)/dh_l  dh_l/da_l   da_l/dW_lij
    each at the neuron of the route in that layer                                       (5)
    with  da_k/dh_(k-1) = W_k,   dh_k/da_k = g'(a_k),   da_l,i/dW_lij = h_(l-1),j       (6)
    dL/dW_lij = the sum of (5) over all routes                                          (7)

Their number is the product of the widths passed through, n_(l+1) ... n_L, and once more n_L for o where O
mixes: that is why nobody computes a gradient so. Layers and neurons are counted from 1, as in the notes.

Printed: (5) of one route, seven factors for L = 3, as the gradient: right only where every width is 1.
Printed: a_L11, with an index too many; correct: a_L1. Printed: the last row of W_1 as w_1n, w_2n, ..., w_nn,
which is its last column; correct: w_n1, w_n2, ..., w_nn. Printed: "2 hidden layers", then 1; and yhat =
O(h_1), without the affine map; correct: (3) of (1). Printed: the gradient in (4) at a theta without its t;
correct: at theta_t. Printed: softmax with the denominator sum x_j; correct: sum e^x_j, as in the notes' code,
which in its turn is NaN at [1000, 1001] and sums over the whole of a batch; `sigmoid_rows` and `softmax_rows`
are the stable forms.
"""

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from manual_bp import checks
from manual_bp.textbook.columns import Layer, Network, check, check_forward
from manual_bp.textbook.functions import ACTIVATIONS, COSTS, OUTPUTS, sigmoid, softmax

Routes = np.ndarray
"""(P, D) integers counted from 1: a row is i_l, i_(l+1), ..., i_L, o."""


class Forward(NamedTuple):
    """a_1, ..., a_L before the activation, h_0 = x, ..., h_(L-1) after it, and the output."""

    a: tuple[Float[Array, " n"], ...]
    h: tuple[Float[Array, " n"], ...]
    yhat: Float[Array, " O"]


def forward(
    layers: Sequence[Layer], x: Float[Array, " I"], *, activation: str = "sigmoid", output: str = "softmax"
) -> Forward:
    """The way forward for one example."""
    names = {"activation": activation, "output": output}
    check_forward("paths", [W for W, _ in layers], [b for _, b in layers], x, **names)
    a, h = [], [x]
    for l, (W, b) in enumerate(layers, start=1):
        a.append(W @ h[-1] + b)  # (1)
        if l < len(layers):
            h.append(ACTIVATIONS[activation].value(a[-1]))  # (2)
    return Forward(tuple(a), tuple(h), OUTPUTS[output].value(a[-1]))  # (3)


def update(theta: PyTree, gradient: PyTree, eta: float) -> PyTree:
    """The parameters after one step of gradient descent; a network, or any other pytree of them."""
    return jax.tree.map(lambda p, d: p - eta * d, theta, gradient)  # (4)


class Paths(NamedTuple):
    """P paths: their routes (P, D), factors (P, F) in the order of (5), and their products (P,)."""

    routes: Routes
    factors: Float[Array, "P F"]
    products: Float[Array, " P"]


def count(widths: Sequence[int], layer: int, *, output: str = "softmax") -> int:
    """The number of paths from one weight of `layer` to the loss; `widths` are those of all layers."""
    checks.option("paths", "layer", layer, 1 <= layer < len(widths), f"1 to {len(widths) - 1}")
    checks.choice("paths", "output", output, OUTPUTS)
    return prod(widths[layer + 1 :]) * (widths[-1] if _mixes(output) else 1)


def routes(widths: Sequence[int], layer: int, neuron: int, *, output: str = "softmax") -> Routes:
    """All routes from neuron `neuron` of `layer` to the loss."""
    later = [range(1, width + 1) for width in widths[layer + 1 :]]
    ends = range(1, widths[-1] + 1)
    rows = [
        (neuron, *nodes, end)
        for nodes in product(*later)
        for end in (ends if _mixes(output) else [nodes[-1] if nodes else neuron])
    ]
    return np.array(rows)


def paths(
    layers: Sequence[Layer],
    x: Float[Array, " I"],
    y: Float[Array, " O"],
    weight: tuple[int, int, int],
    *,
    activation: str = "sigmoid",
    output: str = "softmax",
    cost: str = "cross_entropy",
) -> Paths:
    """Every path from `weight` = (l, i, j) to the loss of one example; their products sum to dL/dW_lij."""
    names = {"activation": activation, "output": output, "cost": cost}
    _check(layers, x, y, **names)
    layer, i, j = weight
    checks.option("paths", "weight", weight, 1 <= layer <= len(layers), f"a layer of 1 to {len(layers)}")
    rows, cols = layers[layer - 1].W.shape
    inside = 1 <= i <= rows and 1 <= j <= cols
    checks.option("paths", "weight", weight, inside, f"neurons of 1 to {rows} and 1 to {cols}")
    found, factors, h = _until_weight(layers, x, y, layer, i, **names)
    last = jnp.full((len(found), 1), h[j - 1])  # (6)
    factors = jnp.concatenate([factors, last], axis=1)
    return Paths(found, factors, jnp.prod(factors, axis=1))  # (5)


def factor_names(route: Sequence[int], weight: tuple[int, int, int], depth: int) -> tuple[str, ...]:
    """What the factors of one route are called, in the order of (5); `depth` is L."""
    layer, i, j = weight
    *nodes, o = (int(node) for node in route)
    names = [f"∂L/∂ŷ_{o}", f"∂ŷ_{o}/∂a_{depth},{nodes[-1]}"]
    for k in range(depth, layer, -1):
        here, before = nodes[k - layer], nodes[k - layer - 1]
        names += [f"∂a_{k},{here}/∂h_{k - 1},{before}", f"∂h_{k - 1},{before}/∂a_{k - 1},{before}"]
    return (*names, f"∂a_{layer},{i}/∂W_{layer},{i},{j}")


def gradient(
    layers: Sequence[Layer],
    x: Float[Array, " I"],
    y: Float[Array, " O"],
    *,
    activation: str = "sigmoid",
    output: str = "softmax",
    cost: str = "cross_entropy",
) -> Network:
    """The gradient of one example's loss, each entry as the sum over its paths; for small networks.

    The factors of a weight's paths are the same for all weights into one neuron but for the last one.
    """
    names = {"activation": activation, "output": output, "cost": cost}
    _check(layers, x, y, **names)
    gradients = []
    for layer, (W, _) in enumerate(layers, start=1):
        dW, db = [], []
        for i in range(1, W.shape[0] + 1):
            _, factors, h = _until_weight(layers, x, y, layer, i, **names)
            products = jnp.prod(factors, axis=1)
            dW.append(jnp.sum(jnp.outer(products, h), axis=0))  # (7)
            db.append(jnp.sum(products))  # da_(l,i)/db_(l,i) = 1
        gradients.append(Layer(jnp.stack(dW), jnp.stack(db)))
    return tuple(gradients)


def sigmoid_rows(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The sigmoid of any array; finite for every finite x."""
    return sigmoid(x)


def softmax_rows(x: Float[Array, "*B V"]) -> Float[Array, "*B V"]:
    """The softmax of every row: each sums to 1, and finite for every finite x."""
    return jnp.moveaxis(softmax(jnp.moveaxis(x, -1, 0)), 0, -1)


def _mixes(output: str) -> bool:
    """Whether an output depends on other pre-activations than its own."""
    return output == "softmax"


def _until_weight(
    layers: Sequence[Layer],
    x: Array,
    y: Array,
    layer: int,
    neuron: int,
    *,
    activation: str,
    output: str,
    cost: str,
) -> tuple[Routes, Float[Array, "P F"], Float[Array, " J"]]:
    """The routes to `neuron` of `layer`, all factors of (5) but the last, and h_(l-1) to take that from."""
    a, h, yhat = forward(layers, x, activation=activation, output=output)
    widths = (x.shape[0], *(W.shape[0] for W, _ in layers))
    found = routes(widths, layer, neuron, output=output)
    nodes, o = found[:, :-1] - 1, found[:, -1] - 1  # counted from 0, to index with
    factors = [COSTS[cost].gradient(yhat, y)[o], OUTPUTS[output].J(a[-1])[o, nodes[:, -1]]]
    for k in range(len(layers) - 1, layer - 1, -1):
        here, before = nodes[:, k + 1 - layer], nodes[:, k - layer]
        factors += [layers[k].W[here, before], ACTIVATIONS[activation].derivative(a[k - 1])[before]]  # (6)
    return found, jnp.stack(factors, axis=1), h[layer - 1]


def _check(layers: Sequence[Layer], x: Array, y: Array, *, activation: str, output: str, cost: str) -> None:
    W, b = [layer.W for layer in layers], [layer.b for layer in layers]
    check("paths", W, b, x, y, activation=activation, output=output, cost=cost)
