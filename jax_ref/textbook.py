"""The notes' networks as a JAX user writes them: columns, `W (n_out, n_in)`, and `jax.grad` for the rest."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Layers = Sequence[tuple[Float[Array, "O I"], Float[Array, " O"]]]

FUNCTIONS = {
    "identity": lambda z: z,
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "softmax": jax.nn.softmax,
}


def last_input(layers: Layers, x: Float[Array, " I"], *, activation: str = "sigmoid") -> Float[Array, " O"]:
    """The pre-activation of the last layer for one example."""
    *hidden, (W_last, b_last) = layers
    for W, b in hidden:
        x = FUNCTIONS[activation](jnp.matmul(W, x) + b)
    return jnp.matmul(W_last, x) + b_last


def apply(
    layers: Layers, x: Float[Array, " I"], *, activation: str = "sigmoid", output: str = "sigmoid"
) -> Float[Array, " O"]:
    """The output for one example."""
    return FUNCTIONS[output](last_input(layers, x, activation=activation))


def example_cost(
    layers: Layers,
    x: Float[Array, " I"],
    y: Float[Array, " O"],
    *,
    activation: str = "sigmoid",
    output: str = "sigmoid",
    cost: str = "quadratic",
) -> Float[Array, ""]:
    """The cost of one example."""
    if (output, cost) == ("softmax", "cross_entropy"):  # the logarithm of a softmax, where neither overflows
        return -jnp.vdot(y, jax.nn.log_softmax(last_input(layers, x, activation=activation)))
    a = apply(layers, x, activation=activation, output=output)
    if cost == "cross_entropy":
        return -jnp.vdot(y, jnp.log(a))
    return jnp.sum((a - y) ** 2) / (2 if cost == "quadratic" else a.size)


def mean_cost(
    layers: Layers,
    X: Float[Array, "I B"],
    Y: Float[Array, "O B"],
    *,
    activation: str = "sigmoid",
    output: str = "sigmoid",
    cost: str = "quadratic",
) -> Float[Array, ""]:
    """The mean cost of examples in columns."""
    names = {"activation": activation, "output": output, "cost": cost}
    return jnp.mean(jax.vmap(lambda x, y: example_cost(layers, x, y, **names), in_axes=1)(X, Y))


def head_cost(
    matrices: Sequence[Float[Array, "D n"]],
    X: Float[Array, "n T"],
    Y: Float[Array, "D T"],
    *,
    causal: bool = False,
) -> Float[Array, ""]:
    """The cost of one head of attention, with the matrices of queries, keys and values, for one sequence."""
    q, k, v = (jnp.einsum("dn,nt->td", W, X) for W in matrices)
    scores = jnp.einsum("td,sd->ts", q, k) / len(Y) ** 0.5
    seen = jnp.tril(jnp.ones(scores.shape, bool)) if causal else None
    output = jnp.einsum("ts,sd->dt", jax.nn.softmax(scores, where=seen), v)
    return jnp.sum((output - Y) ** 2) / 2
