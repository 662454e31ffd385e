"""Private gradients over devices as a JAX user writes them: vmap of jax.grad, and one sum."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from jax_ref import private as reference
from jax_ref.models import mlp
from manual_bp.parallel import axes


def value_and_grad(
    params: Any,
    x: Array,
    targets: Array,
    key: jax.Array,
    *,
    axis: str,
    max_norm: float,
    noise_multiplier: float,
    **static: Any,
) -> tuple[Array, Any]:
    """The mean loss of all devices' examples, and the private gradient, of this device's share of them."""
    n, own = axes.size(axis), axes.vary(params, axis)
    losses, sums = reference.clipped(mlp.loss, own, (x, targets), max_norm=max_norm, **static)
    cost, sums = lax.psum((jnp.mean(losses) / n, sums), axis)
    return cost, reference.with_noise(
        sums, key, n * len(x), max_norm=max_norm, noise_multiplier=noise_multiplier
    )
