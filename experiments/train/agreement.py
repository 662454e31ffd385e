"""How far two engines are apart: their gradients at the same params, part by part, and their params."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.train.engines import Engine
from experiments.train.parts import parts
from manual_bp.precision import wide


def make_gradient(engine: Engine) -> Callable[[Any, Any, Any], Any]:
    """`gradient(params, model_state, batch) -> grads`, a program of its own.

    Two engines in one program would be merged by XLA where they do the same, and so agree unasked.
    """
    return jax.jit(lambda params, model, batch: engine.value_and_grad(params, model, batch)[1])


def make_compare(stacked: frozenset[str]) -> Callable[[Any, Any], tuple[jax.Array, jax.Array]]:
    """`compare(grads, other) -> (differences, norms)`, each (P,), by part.

    A part's difference is the largest of its leaves', each relative to the norm of the second's; its norm is
    that of the second gradient.
    """

    @jax.jit
    def compare(grads: Any, other: Any) -> tuple[jax.Array, jax.Array]:
        pairs = zip(parts(grads, stacked).values(), parts(other, stacked).values(), strict=True)
        differences = [
            jnp.max(jnp.stack(jax.tree.leaves(jax.tree.map(relative_difference, a, b)))) for a, b in pairs
        ]
        norms = [optax.tree.norm(jax.tree.map(wide, part)) for part in parts(other, stacked).values()]
        return jnp.stack(differences), jnp.stack(norms)

    return compare


@jax.jit
def distance(params: Any, other_params: Any) -> jax.Array:
    """The Euclidean distance of two pytrees of params."""
    return optax.tree.norm(jax.tree.map(lambda p, q: wide(p) - wide(q), params, other_params))


def relative_difference(a: jax.Array, b: jax.Array) -> jax.Array:
    """|a - b| / |b|, and 0 where both are zero."""
    a, b = wide(a), wide(b)
    off, size = jnp.linalg.norm((a - b).ravel()), jnp.linalg.norm(b.ravel())
    return jnp.where(off == 0, 0, off / size)
