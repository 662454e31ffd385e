"""The quadratic and the cross-entropy cost of sigmoid outputs, each with its delta: (1) and (2)."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from manual_bp.ops import sigmoid_cross_entropy, squared_error
from manual_bp.ops.activations import sigmoid


def quadratic(z: Float[Array, "*B O"], t: Float[Array, "*B O"]) -> tuple[Array, Array]:
    """Each example's cost (*B,) and its delta dz (*B, O)   (1)."""
    a, saved = sigmoid.fwd(z)
    cost, error = squared_error.fwd(a, t)
    da, _ = squared_error.bwd(error, jnp.ones_like(cost))
    return cost, sigmoid.bwd(saved, da)


def cross_entropy(z: Float[Array, "*B O"], t: Float[Array, "*B O"]) -> tuple[Array, Array]:
    """Each example's cost (*B,) and its delta dz (*B, O)   (2)."""
    cost, saved = sigmoid_cross_entropy.fwd(z, t)
    dz, _ = sigmoid_cross_entropy.bwd(saved, jnp.ones_like(cost))
    return cost, dz


COSTS = {"quadratic": quadratic, "cross-entropy": cross_entropy}
"""By name; each takes pre-activations and targets."""
