"""Networks of digits, trained by any gradient, right or wrong, on the same batches: (1) of the package."""

import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

import jax_ref.textbook
from experiments import data
from jax_ref.verify import oracle
from manual_bp.textbook.columns import Layer, Network
from manual_bp.textbook.errata.steps import Gradient

WIDTHS = (64, 20, 10, 10)
"""The last layer is square and as wide as the one before: some mistakes need it."""

LEARNING_RATES = {
    ("sigmoid", "quadratic"): 3.0,
    ("sigmoid", "mean_squares"): 15.0,  # the same steps, as this cost is 2/10 of the quadratic one
    ("softmax", "quadratic"): 3.0,
    ("softmax", "cross_entropy"): 1.0,
}
"""eta of an output and cost: about a third of the largest at which all networks are trained."""


class Setup(NamedTuple):
    """What all mistakes share: digits in columns, R networks, the batches of training and of the checks."""

    X: Float[Array, "64 N"]
    Y: Float[Array, "10 N"]
    X_test: Float[Array, "64 M"]
    labels: Int[Array, "M"]
    networks: Network
    batches: Int[Array, "steps B"]
    checked: Int[Array, "R B"]


def set_up(seed: int, *, repeats: int, batch_size: int, steps: int) -> Setup:
    """The digits, and all that is drawn for training."""
    rng = np.random.default_rng(seed)
    training, test, classes = data.rows(data.digits.load())
    networks = tuple(
        Layer(
            jnp.asarray(rng.normal(size=(repeats, o, i)) / math.sqrt(i)),
            jnp.asarray(rng.normal(size=(repeats, o))),
        )
        for i, o in itertools.pairwise(WIDTHS)
    )
    batches, checked = (rng.integers(len(training.x), size=(rows, batch_size)) for rows in (steps, repeats))
    one_hot = np.eye(classes)[:, training.y]
    arrays = (training.x.T, one_hot, test.x.T, test.y, networks, batches, checked)
    return Setup(*jax.tree.map(jnp.asarray, arrays))


def train(gradient: Gradient, setup: Setup, Y: Float[Array, "10 N"], learning_rate: float) -> Network:
    """The networks after (1), trained in float32; a wrong gradient may leave NaNs."""
    networks, X, Y = oracle.cast((setup.networks, setup.X, Y), jnp.float32)

    def step(networks: Network, batch: Array) -> tuple[Network, None]:
        gradients = jax.vmap(gradient, in_axes=(0, None, None))(networks, X[:, batch], Y[:, batch])
        return jax.tree.map(lambda p, g: p - learning_rate * g, networks, gradients), None  # (1)

    trained = jax.jit(lambda networks: jax.lax.scan(step, networks, setup.batches)[0])(networks)
    return oracle.cast(trained, jnp.float64)


@jax.jit
def accuracy(networks: Network, setup: Setup) -> Float[Array, "R"]:
    """The share of the test examples that each network has right."""
    last_input = jax.vmap(jax_ref.textbook.last_input, in_axes=(None, 1))
    z = jax.vmap(last_input, in_axes=(0, None))(networks, setup.X_test)
    return jnp.mean(jnp.argmax(z, axis=2) == setup.labels[None], axis=1)
