"""Every number of a layer's sheet by JAX in float64: a forward pass in plain code, derivatives by `jax.grad`.

The derivative by an intermediate value is that by a number, zero, that is added to it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.worked_example.sheet import Key

At = Callable[[str, Array], Array]
"""Gives a value of the forward pass its name; what goes on is what this returns."""

Forward = Callable[[Mapping[str, Array], At], Array]
"""The loss of named numbers."""


def truth(
    forward: Forward, given: Mapping[str, Any], trained: Sequence[str], rate: float
) -> dict[Key, np.ndarray]:
    """By name: all values, the loss ("cost"), d of each, the updated of `trained`, and all values again, as
    "new ...". The layer in a key is 1.
    """

    def run(values: Mapping[str, Array], added: Mapping[str, Array]) -> tuple[Array, dict[str, Array]]:
        seen = {}

        def at(name: str, value: Array) -> Array:
            seen[name] = value + added[name] if added else value
            return seen[name]

        cost = forward(values, at)
        return cost, {**seen, "cost": cost}

    values = {name: jnp.asarray(numbers, jnp.float64) for name, numbers in given.items()}
    _, states = run(values, {})
    zeros = {name: jnp.zeros_like(value) for name, value in states.items() if name != "cost"}
    derivatives, states = jax.jit(jax.grad(run, argnums=(0, 1), has_aux=True))(values, zeros)
    d_values, d_states = derivatives
    new = {name: values[name] - rate * d_values[name] for name in trained}
    _, again = run(values | new, {})
    found = states | {f"d{name}": d for name, d in (d_values | d_states).items()}
    found |= {f"new {name}": value for name, value in (new | again).items()}
    return {(name, 1): np.asarray(value) for name, value in found.items()}
