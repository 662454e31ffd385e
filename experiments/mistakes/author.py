r"""A wrong gradient as its author has it: the backward of a function whose forward is right.

The author has a function f of the layers l, the mean cost of the examples numbered n, and its backward:

    f(l, n) = C(l; X_n, Y_n),      vjp of f at (l, n):   d -> d G(l; X_n, Y_n)              (1)

C is right, so that only G is on trial. The examples are closed over and their numbers are an argument, as
an argument of floating point would need a cotangent of its own, and numbers do not.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Float, Int

import jax_ref.textbook
from manual_bp.textbook.columns import Network
from manual_bp.textbook.errata.steps import Gradient

Numbers = Int[Array, "B"]


class Examples(NamedTuple):
    """Inputs and targets in columns: of values that float32 has exactly, as they are cast to it."""

    X: Float[Array, "I N"]
    Y: Float[Array, "O N"]

    def chosen(self, numbers: Numbers, like: Network) -> tuple[Array, Array]:
        """Those of some numbers, in the dtype of a network."""
        dtype = like[0].W.dtype
        return self.X[:, numbers].astype(dtype), self.Y[:, numbers].astype(dtype)


class Cost(NamedTuple):
    """The right cost: C itself, of the examples numbered, and the gradient of that by autodiff, compiled."""

    of: Callable[[Network, Array, Array], Array]
    examples: Examples
    value: Callable[[Network, Numbers], Array]
    gradient: Callable[[Network, Numbers], Network]


def cost(examples: Examples, *, output: str, cost: str) -> Cost:
    """The mean cost by the plain reference."""
    of = functools.partial(jax_ref.textbook.mean_cost, output=output, cost=cost)

    def mean_cost(layers: Network, numbers: Numbers) -> Array:
        return of(layers, *examples.chosen(numbers, layers))

    return Cost(of, examples, jax.jit(mean_cost), jax.jit(jax.grad(mean_cost)))


class Author(NamedTuple):
    """(1): the halves of a `jax.custom_vjp`, compiled, and f itself."""

    fwd: Callable[[Network, Numbers], tuple[Array, Any]]
    bwd: Callable[[Any, Array], tuple[Network, None]]
    f: Callable[[Network, Numbers], Array]


def author(right: Cost, gradient: Gradient) -> Author:
    """The author of a gradient."""

    def fwd(layers: Network, numbers: Numbers) -> tuple[Array, Any]:
        return right.value(layers, numbers), (layers, numbers)

    @jax.jit
    def bwd(residuals: Any, d_output: Array) -> tuple[Network, None]:
        layers, numbers = residuals
        found = gradient(layers, *right.examples.chosen(numbers, layers))
        return jax.tree.map(lambda leaf: d_output * leaf, found), None  # (1)

    f = jax.custom_vjp(right.value)
    f.defvjp(fwd, bwd)
    return Author(fwd, bwd, f)
