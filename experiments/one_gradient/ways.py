r"""Twelve ways to the gradient of a network's mean cost, what they multiply, and how far two are apart.

A network of widths n_0, ..., n_L has M = sum_k n_k n_(k-1) weights and P = M + sum_k n_k parameters. From a
neuron of layer k, R_k = n_(k+1) ... n_L routes lead to the cost, times n_L again where the output mixes, as
softmax does. Multiplications per example, but for elementwise functions and the Jacobian of the output:

    once backward   3 M - n_0 n_1: all z, all deltas, and deltas times states               (1)
    paths           M + sum_k n_k R_k (2 (L - k) + 1 + n_(k-1))                             (2)
    complex step    4 P M, as a product of complex numbers is four of real ones             (3)
    central         2 P M, a forward pass on both sides of every parameter                  (4)

`paths.gradient` multiplies the factors of a route once for all n_(k-1) weights into its neuron, and then by
the last factor of each: that is (2). The paths of all weights are

    sum_k n_k n_(k-1) R_k                                                                   (5)

Two gradients g and h differ, over the weights W_k and biases b_k that both have, by

    the largest over all of these of  |g - h| / max(|g|, |h|)                               (6)
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

import jax_ref.textbook
from experiments.common import numerical as differences
from manual_bp.models import mlp
from manual_bp.textbook import columns, four_equations, index_and_vector_forms, matrix_form, paths, two_passes
from manual_bp.textbook.columns import Network
from manual_bp.textbook.notes import FORMS


class Head(NamedTuple):
    """One pair of output and cost, as the notes name it and as `mlp` does."""

    notes: dict[str, Any]
    mlp: dict[str, Any]


HEADS = {
    "cross_entropy": Head(
        {"output": "softmax", "cost": "cross_entropy"},
        {"activation": "sigmoid", "output_activation": "identity", "loss": "softmax_cross_entropy"},
    ),
    "quadratic": Head(
        {"output": "sigmoid", "cost": "quadratic"},
        {"activation": "sigmoid", "output_activation": "sigmoid", "loss": "squared_error"},
    ),
}


class Way(NamedTuple):
    """A way to the gradient of the mean cost over columns X and Y, and its multiplications per example."""

    name: str
    gradient: Callable[[Network, Array, Array], Any]
    multiplications: int
    jitted: bool = True


def mean_cost(
    layers: Sequence[tuple[Inexact[Array, "O I"], Inexact[Array, " O"]]],
    X: Float[Array, "I B"],
    Y: Float[Array, "O B"],
    *,
    head: str,
) -> Inexact[Array, ""]:
    """The mean cost by the definitions, which also take a network of complex numbers."""
    dtype = layers[0][0].dtype
    A, T = X.astype(dtype), Y.astype(dtype)
    for W, b in layers[:-1]:
        A = 1 / (1 + jnp.exp(-(W @ A + b[:, None])))
    Z = layers[-1][0] @ A + layers[-1][1][:, None]
    if head == "quadratic":
        return jnp.mean(jnp.sum(jnp.square(1 / (1 + jnp.exp(-Z)) - T), axis=0) / 2)
    Z -= jnp.max(Z.real, axis=0, keepdims=True).astype(dtype)  # softmax is the same, and nothing overflows
    return jnp.mean(jnp.sum(T * (jnp.log(jnp.sum(jnp.exp(Z), axis=0, keepdims=True)) - Z), axis=0))


def ways(widths: Sequence[int], head: str) -> dict[str, Way]:
    """All ways by their keys in the table: the analytic ones, and at the end the two numerical ones."""
    notes = HEADS[head].notes
    weights = sum(o * i for i, o in pairwise(widths))
    once, by_paths = multiplications(widths), path_multiplications(widths, output=notes["output"])
    sweep = (weights + sum(widths[1:])) * weights  # P M, a forward pass for every parameter

    def each(form: Callable[..., Network]) -> Callable[[Network, Array, Array], Network]:
        def of_mean(layers: Network, X: Array, Y: Array) -> Network:
            return columns.mean(jax.vmap(lambda x, y: form(layers, x, y, **notes), in_axes=1)(X, Y))

        return of_mean

    def matrices(layers: Network, X: Array, Y: Array) -> list[tuple[Array]]:
        total = matrix_form.batch_gradient([W for W, _ in layers], X, Y, **notes)
        return [(dW / X.shape[1],) for dW in total]  # of the mean, not the sum

    def neurons(layers: Network, X: Array, Y: Array) -> Network:
        form = partial(index_and_vector_forms.index_form, layers, **notes)
        return columns.mean(jax.tree.map(lambda *dW: jnp.stack(dW), *map(form, X.T, Y.T)))

    def augmented(layers: Network, x: Array, y: Array, **notes: Any) -> Network:
        matrices = tuple(map(index_and_vector_forms.augment, layers))
        gradient = index_and_vector_forms.augmented_form(matrices, x, y, **notes)
        return tuple(map(index_and_vector_forms.split, gradient))

    def engine(layers: Network, X: Array, Y: Array) -> Network:
        batch = columns.rows(X), columns.rows(Y)
        return columns.from_mlp(mlp.value_and_grad(columns.to_mlp(layers), batch, **HEADS[head].mlp)[1])

    def numerical(estimate: Callable[..., Array]) -> Callable[[Network, Array, Array], Network]:
        def of_mean(layers: Network, X: Array, Y: Array) -> Network:
            def cost(theta: Array) -> Array:
                return mean_cost(two_passes.unflatten(theta, layers), X, Y, head=head)

            return two_passes.unflatten(estimate(cost, two_passes.flatten(layers)), layers)

        return of_mean

    autodiff = jax.grad(partial(jax_ref.textbook.mean_cost, **notes))
    return {
        "000": Way(FORMS["000"].name, matrices, once),
        "001": Way(FORMS["001"].name, partial(two_passes.total_gradient, **notes), once),
        "002i": Way(FORMS["002i"].name, neurons, once, jitted=False),
        "002v": Way(FORMS["002v"].name, each(index_and_vector_forms.gradient), once),
        "002b": Way(FORMS["002b"].name, partial(index_and_vector_forms.batch_form, **notes), once),
        "002a": Way(FORMS["002a"].name, each(augmented), once),
        "003": Way(FORMS["003"].name, each(paths.gradient), by_paths),
        "004": Way(FORMS["004"].name, partial(four_equations.mean_gradient, **notes), once),
        "mlp": Way("manual_bp.models.mlp", engine, once),
        "grad": Way("jax.grad", autodiff, once),
        "cplx": Way("complex step", numerical(differences.gradient_by_complex_step), 4 * sweep),  # (3)
        "cent": Way("central differences", numerical(differences.gradient_by_central), 2 * sweep),  # (4)
    }


def multiplications(widths: Sequence[int]) -> int:
    """Multiplications per example of every form that goes backward once."""
    return 3 * sum(o * i for i, o in pairwise(widths)) - widths[0] * widths[1]  # (1)


def path_multiplications(widths: Sequence[int], *, output: str) -> int:
    """Multiplications per example of the path form."""
    total = sum(o * i for i, o in pairwise(widths))
    for k in range(1, len(widths)):
        factors = 2 * (len(widths) - 1 - k) + 1 + widths[k - 1]
        total += widths[k] * paths.count(widths, k, output=output) * factors  # (2)
    return total


def number_of_paths(widths: Sequence[int], *, output: str) -> int:
    """The number of paths of all weights together."""
    layers = range(1, len(widths))
    return sum(widths[k] * widths[k - 1] * paths.count(widths, k, output=output) for k in layers)  # (5)


def difference(g: Iterable[tuple[Array, ...]], h: Iterable[tuple[Array, ...]]) -> float:
    """The difference of two gradients, each with (W, b) or (W,) for every layer."""
    pairs = [leaves for ours, theirs in zip(g, h, strict=True) for leaves in zip(ours, theirs, strict=False)]
    return max(float(jnp.linalg.norm(a - b) / max(map(jnp.linalg.norm, (a, b)))) for a, b in pairs)  # (6)
