"""Dynamic loss scaling, by which small cotangents do not vanish in float16, whose least number is 6e-8.

The cotangent of the cost is S instead of 1, so that all behind it are S times as large; the gradients, which
are in float32, are divided by S again. Where S is so large that one overflows, the step is skipped and S
halved; after `PATIENCE` steps that were not, it is doubled. S is a power of two, so that nothing is rounded.

optax.apply_if_finite skips a step too, but lets it through after so many, and makes 0 of a param of -0.

Micikevicius et al. 2018, arXiv:1710.03740.
"""

from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

Tree = TypeVar("Tree")

SMALLEST, LARGEST = 2.0**-14, 2.0**15
"""Powers of two that float16 holds as normal numbers."""

PATIENCE = 200
"""Steps in a row without overflow after which S is doubled."""


class LossScale(NamedTuple):
    """S, the steps since it was changed, and the steps that were skipped so far."""

    scale: Float[Array, ""]
    good: Int[Array, ""]
    skipped: Int[Array, ""]


def start() -> LossScale:
    """The largest S, which the first steps halve as far as they need."""
    return LossScale(jnp.float32(LARGEST), jnp.int32(0), jnp.int32(0))


def unscaled(grads: Tree, scale: Float[Array, ""]) -> Tree:
    """The gradients of the cost itself."""
    return jax.tree.map(lambda g: g / scale.astype(g.dtype), grads)


def finite(grads: Any) -> Bool[Array, ""]:
    """Whether every number is."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(g)) for g in jax.tree.leaves(grads)]))


def chosen(condition: Bool[Array, ""], new: Tree, old: Tree) -> Tree:
    """`new` if the condition is true, otherwise `old`, bit for bit."""
    return jax.tree.map(lambda n, o: jnp.where(condition, n, o), new, old)


def adjusted(state: LossScale, good: Bool[Array, ""]) -> LossScale:
    """S after a step that was good or had to be skipped."""
    steps = jnp.where(good, state.good + 1, 0)
    grow = steps == PATIENCE
    scale = jnp.where(good, jnp.where(grow, 2, 1) * state.scale, state.scale / 2)
    return LossScale(
        jnp.clip(scale, SMALLEST, LARGEST),
        jnp.where(grow, 0, steps),
        state.skipped + jnp.where(good, 0, 1),
    )
