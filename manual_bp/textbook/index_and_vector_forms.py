r"""Index, vector, batch and augmented form: note 002, "Backpropagation", which names no author.

Layers k = 1..L of m_k neurons, a^(0) = x.

    z_i^(k) = sum_(l=1..m_(k-1)) w_il^(k) a_l^(k-1) + b_i^(k),   a_i^(k) = s(z_i^(k))       (1)
    C = c sum_(k=1..N) L_k over the N data, c = 1/N                                         (2)
    w <- w - eta dC/dw,   dC/dw = c sum_k dL_k/dw                                           (3)

Index form, one neuron at a time:

    dL/dw_il = delta_i a_l,   dL/db_i = delta_i,   as dz_i/dw_jm = [i = j] a_m              (4)
    delta_i^(k) = s'(z_i^(k)) sum_(j=1..m_(k+1)) delta_j^(k+1) w_ji^(k+1)                   (5)

Vector form (* is elementwise), and batch form with the B examples' deltas and states as columns:

    delta^(k) = (W^(k+1)T delta^(k+1)) * s'(z^(k))                                          (6)
    dL/dW^(k) = delta^(k) a^(k-1)T,   dL/db^(k) = I^T delta^(k) = delta^(k)                 (7)
    dC/dW^(k) = (1/B) D^(k) A^(k-1)T,   dC/db^(k) = (1/B) D^(k) 1                           (8)

Augmented weights W~ = [W b] and states a~ = [a; 1]:

    W~ a~ = W a + b,   dL/dW~ = delta a~T = [dW db]                                         (9)
    (6) takes W~ without its last column, as the 1 it belongs to is no neuron              (10)

Output deltas:

    squared error 1/2 |a - y|^2 with the sigmoid:   (a - y) * s'(z)                         (11)
    cross-entropy with softmax:                     a sum_j y_j - y                         (12)

Printed, and correct: the cost by the letter of the loss, and its set with l = 1:K: (2), l = 1:L. The descent
without c, N times too large: (3). b_l and the limit m_l in z_i: (1). dL/db with an elementwise product by
the identity: (7). dz_i/dw_il with l bound in the sum and free: (4). The sum of (5) from l = 1 to m_j: (5).
One name for the gradient of a and delta, one for dz/dw and dz/da: distinct here. Layer superscripts on the
entries of one hidden vector: a_1..a_m. "MSE" for (11), where a mean of squares has a factor 2/m. a - y for
(12), which needs sum y = 1. (8) divides by B, so D holds the deltas of the L_k, not of their mean. The steps
allow W^(k+1) to be updated before delta^(k) is formed: `train_step` updates when all deltas are there.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Key

from manual_bp import checks
from manual_bp.textbook.columns import Layer, Network, check, check_batch
from manual_bp.textbook.functions import ACTIVATIONS, COSTS, OUTPUTS, sigmoid_derivative

Augmented = Sequence[Float[Array, "O I+1"]]


class States(NamedTuple):
    """z of layers 1..L and a of layers 0..L, each (m_k,), or (m_k, B) of a batch."""

    z: tuple[Float[Array, "n ..."], ...]
    a: tuple[Float[Array, "n ..."], ...]


def initialize(
    key: Key[Array, ""], widths: Sequence[int], *, scale: float = 0.01, dtype: DTypeLike = jnp.float32
) -> Network:
    """Normal weights close to zero, of standard deviation `scale`, and zero biases."""
    keys = jax.random.split(key, len(widths) - 1)
    return tuple(
        Layer(scale * jax.random.normal(k, (o, i), dtype), jnp.zeros(o, dtype))
        for k, (i, o) in zip(keys, pairwise(widths), strict=True)
    )


def forward(
    layers: Sequence[Layer],
    x: Float[Array, "I ..."],
    *,
    activation: str = "sigmoid",
    output: str = "sigmoid",
) -> States:
    """The states of all layers, for one datum (I,) or a batch of columns (I, B)."""
    z, a = [], [x]
    for k, (W, b) in enumerate(layers, start=1):
        z.append(W @ a[-1] + (b if x.ndim == 1 else b[:, None]))  # (1)
        a.append((ACTIVATIONS[activation] if k < len(layers) else OUTPUTS[output]).value(z[-1]))
    return States(tuple(z), tuple(a))


def squared_error_sigmoid_delta(
    z: Float[Array, "O ..."], a: Float[Array, "O ..."], y: Float[Array, "O ..."]
) -> Float[Array, "O ..."]:
    """The output delta for 1/2 |a - y|^2, a = s(z)."""
    return (a - y) * sigmoid_derivative(z)  # (11)


def cross_entropy_softmax_delta(
    z: Float[Array, "O ..."], a: Float[Array, "O ..."], y: Float[Array, "O ..."]
) -> Float[Array, "O ..."]:
    """The output delta for -sum y log a, a = softmax(z), whatever sum y is."""
    return a * jnp.sum(y, axis=0, keepdims=True) - y  # (12)


OUTPUT_DELTAS = {
    ("sigmoid", "quadratic"): squared_error_sigmoid_delta,
    ("softmax", "cross_entropy"): cross_entropy_softmax_delta,
}
"""The output deltas of the notes, by the names of the output function and of the cost."""


def index_form(
    layers: Sequence[Layer],
    x: Float[Array, " I"],
    y: Float[Array, " O"],
    *,
    activation: str = "sigmoid",
    output: str = "sigmoid",
    cost: str = "quadratic",
) -> Network:
    """The gradient of one datum's loss by explicit loops over neurons; for small networks."""
    _check(check, layers, x, y, activation, output, cost)
    derivative = ACTIVATIONS[activation].derivative
    W, b = [layer.W for layer in layers], [layer.b for layer in layers]
    z, a = [], [list(x)]
    for k in range(len(layers)):
        z_k = []
        for i in range(W[k].shape[0]):
            total = b[k][i]
            for l in range(W[k].shape[1]):
                total += W[k][i, l] * a[k][l]  # (1)
            z_k.append(total)
        z.append(z_k)
        last = k == len(layers) - 1
        a.append(
            list(OUTPUTS[output].value(jnp.stack(z_k)))
            if last
            else [ACTIVATIONS[activation].value(z_i) for z_i in z_k]
        )
    delta = list(OUTPUT_DELTAS[output, cost](jnp.stack(z[-1]), jnp.stack(a[-1]), y))
    gradients = []
    for k in reversed(range(len(layers))):
        dW = [[delta[i] * a[k][l] for l in range(len(a[k]))] for i in range(len(delta))]  # (4)
        gradients.append(Layer(jnp.stack([jnp.stack(row) for row in dW]), jnp.stack(delta)))
        if k == 0:
            break
        previous = []
        for i in range(len(a[k])):
            total = delta[0] * W[k][0, i]
            for j in range(1, len(delta)):
                total += delta[j] * W[k][j, i]
            previous.append(derivative(z[k - 1][i]) * total)  # (5)
        delta = previous
    return tuple(reversed(gradients))


def gradient(
    layers: Sequence[Layer],
    x: Float[Array, " I"],
    y: Float[Array, " O"],
    *,
    activation: str = "sigmoid",
    output: str = "sigmoid",
    cost: str = "quadratic",
) -> Network:
    """The gradient of one datum's loss in vector form."""
    _check(check, layers, x, y, activation, output, cost)
    z, a = forward(layers, x, activation=activation, output=output)
    delta = OUTPUT_DELTAS[output, cost](z[-1], a[-1], y)
    gradients = [Layer(jnp.outer(delta, a[-2]), delta)]  # (7)
    for k in reversed(range(1, len(layers))):
        delta = (layers[k].W.T @ delta) * ACTIVATIONS[activation].derivative(z[k - 1])  # (6)
        gradients.append(Layer(jnp.outer(delta, a[k - 1]), delta))  # (7)
    return tuple(reversed(gradients))


def batch_form(
    layers: Sequence[Layer],
    X: Float[Array, "I B"],
    Y: Float[Array, "O B"],
    *,
    activation: str = "sigmoid",
    output: str = "sigmoid",
    cost: str = "quadratic",
) -> Network:
    """The gradient of the mean loss of B data in columns."""
    _check(check_batch, layers, X, Y, activation, output, cost)
    z, a = forward(layers, X, activation=activation, output=output)
    B = X.shape[1]
    D = OUTPUT_DELTAS[output, cost](z[-1], a[-1], Y)
    gradients = [Layer(D @ a[-2].T / B, jnp.sum(D, axis=1) / B)]  # (8)
    for k in reversed(range(1, len(layers))):
        D = (layers[k].W.T @ D) * ACTIVATIONS[activation].derivative(z[k - 1])  # (6)
        gradients.append(Layer(D @ a[k - 1].T / B, jnp.sum(D, axis=1) / B))  # (8)
    return tuple(reversed(gradients))


def augment(layer: Layer) -> Float[Array, "O I+1"]:
    """W~ = [W b]."""
    return jnp.concatenate([layer.W, layer.b[:, None]], axis=1)


def split(augmented: Float[Array, "O I+1"]) -> Layer:
    """W and b of W~."""
    return Layer(augmented[:, :-1], augmented[:, -1])


def augment_state(a: Float[Array, " n"]) -> Float[Array, " n+1"]:
    """a~ = [a; 1]."""
    return jnp.concatenate([a, jnp.ones(1, a.dtype)])


def augmented_form(
    augmented: Augmented,
    x: Float[Array, " I"],
    y: Float[Array, " O"],
    *,
    activation: str = "sigmoid",
    output: str = "sigmoid",
    cost: str = "quadratic",
) -> tuple[Float[Array, "O I+1"], ...]:
    """The gradient of one datum's loss by the augmented matrices."""
    _check(check, tuple(map(split, augmented)), x, y, activation, output, cost)
    z, a = [], [x]
    for k, W in enumerate(augmented, start=1):
        z.append(W @ augment_state(a[-1]))  # (9)
        a.append((ACTIVATIONS[activation] if k < len(augmented) else OUTPUTS[output]).value(z[-1]))
    delta = OUTPUT_DELTAS[output, cost](z[-1], a[-1], y)
    gradients = [jnp.outer(delta, augment_state(a[-2]))]  # (9)
    for k in reversed(range(1, len(augmented))):
        without_last = augmented[k][:, :-1]  # (10)
        delta = (without_last.T @ delta) * ACTIVATIONS[activation].derivative(z[k - 1])
        gradients.append(jnp.outer(delta, augment_state(a[k - 1])))  # (9)
    return tuple(reversed(gradients))


def update(layers: Sequence[Layer], gradients: Sequence[Layer], eta: float) -> Network:
    """One step of gradient descent."""
    return jax.tree.map(lambda w, d: w - eta * d, tuple(layers), tuple(gradients))  # (3)


def train_step(
    layers: Sequence[Layer],
    X: Float[Array, "I B"],
    Y: Float[Array, "O B"],
    *,
    eta: float,
    activation: str = "sigmoid",
    output: str = "sigmoid",
    cost: str = "quadratic",
) -> tuple[Network, Float[Array, ""]]:
    """The algorithm: forward, loss, backward, update. The network after it, and the cost before it."""
    names = {"activation": activation, "output": output}
    gradients = batch_form(layers, X, Y, **names, cost=cost)
    a = forward(layers, X, **names).a[-1]
    C = jnp.mean(jax.vmap(COSTS[cost].value, in_axes=1)(a, Y))  # (2)
    return update(layers, gradients, eta), C


def _check(
    shapes: Callable[..., None],
    layers: Sequence[Layer],
    x: Array,
    y: Array,
    activation: str,
    output: str,
    cost: str,
) -> None:
    where = "index_and_vector_forms"
    W, b = [W for W, _ in layers], [b for _, b in layers]
    shapes(where, W, b, x, y, activation=activation, output=output, cost=cost)
    known = " or ".join(f"{o} with {c}" for o, c in OUTPUT_DELTAS)
    found = f"{output} with {cost}"
    checks.option(where, "output and cost", found, (output, cost) in OUTPUT_DELTAS, known)
