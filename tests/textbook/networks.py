"""Networks and batches of the notes to prove things at: columns, float64, widths that all differ."""

import functools
from itertools import pairwise
from typing import Any

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np

import jax_ref.textbook
from manual_bp.textbook.columns import Layer, Network

HEADS = {
    "quadratic": {"output": "sigmoid", "cost": "quadratic"},
    "cross_entropy": {"output": "softmax", "cost": "cross_entropy"},
}
"""The two pairs of output and cost that the notes treat."""


def widths(depth: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Different widths for `depth` layers, in any order, with two outputs or more.

    The softmax of one output is constant, and its gradient zero.
    """
    orders = st.permutations([3, 5, 2, 7, 4, 6, 1]).map(lambda order: tuple(order[: depth + 1]))
    return orders.filter(lambda order: order[-1] > 1)


def network(widths: tuple[int, ...], seed: int = 0, *, bias: bool = True) -> Network:
    """Random layers; those without a bias have zeros there."""
    rng = np.random.default_rng(seed)
    return tuple(
        Layer(jnp.asarray(rng.normal(size=(o, i))), jnp.asarray(rng.normal(size=o) * bias))
        for i, o in pairwise(widths)
    )


def batch(widths: tuple[int, ...], examples: int, seed: int = 0) -> tuple[jax.Array, jax.Array]:
    """Columns x and targets y, distributions over the outputs."""
    rng = np.random.default_rng(seed + 1)
    y = rng.random((widths[-1], examples))
    return jnp.asarray(rng.normal(size=(widths[0], examples))), jnp.asarray(y / y.sum(0))


def oracle(layers: Network, x: jax.Array, y: jax.Array, **names: Any) -> Network:
    """`jax.grad` of the reference, for one example or the mean over a batch of columns."""
    cost = jax_ref.textbook.example_cost if x.ndim == 1 else jax_ref.textbook.mean_cost
    return _gradient(cost, tuple(names.items()))(layers, x, y)


@functools.cache
def _gradient(cost: Any, names: tuple[tuple[str, Any], ...]) -> Any:
    """One program for each cost: operation by operation it would be a hundred."""
    return jax.jit(jax.grad(functools.partial(cost, **dict(names))))


def error(actual: Any, wanted: Any) -> float:
    """The largest distance of a leaf from the wanted one, relative to the norm of that."""
    assert jax.tree.structure(actual) == jax.tree.structure(wanted)
    distances = []
    for a, w in zip(jax.tree.leaves(actual), jax.tree.leaves(wanted), strict=True):
        assert a.shape == w.shape
        assert a.dtype == w.dtype
        difference = np.linalg.norm((np.asarray(a) - np.asarray(w)).ravel())
        distances.append(float(difference / np.linalg.norm(np.asarray(w).ravel())))
    return max(distances)


BOUND = 1e-13
"""The distance allowed between two forms of one gradient."""

WIDTHS = (4, 3, 5, 2)
LAYERS = network(WIDTHS)
W = tuple(W for W, _ in LAYERS)
X, Y = batch(WIDTHS, 6)
x, y = X[:, 0], Y[:, 0]
"""A network, its matrices alone, a batch, and the first example of it."""
