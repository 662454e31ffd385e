"""Private gradients from the definition: the gradient of each example, clipped, summed, with noise, by B."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


def value_and_grad(
    loss: Callable[..., Float[Array, ""]],
    params: Any,
    batch: tuple[Array, Array],
    key: Key[Array, ""],
    /,
    *,
    max_norm: float,
    noise_multiplier: float,
    **static: Any,
) -> tuple[Float[Array, ""], Any]:
    """The mean loss, and the mean of the clipped gradients with noise; `loss` is that of a batch."""
    losses, sums = clipped(loss, params, batch, max_norm=max_norm, **static)
    noisy = with_noise(sums, key, losses.size, max_norm=max_norm, noise_multiplier=noise_multiplier)
    return jnp.mean(losses), noisy


def with_noise(
    sums: Any, key: Key[Array, ""], count: int, *, max_norm: float, noise_multiplier: float
) -> Any:
    """The mean of `count` clipped gradients, of their sum, with noise."""
    leaves, tree = jax.tree.flatten(sums)
    keys = jax.random.split(key, len(leaves))
    noisy = [
        s + noise_multiplier * max_norm * jax.random.normal(k, s.shape, s.dtype)
        for k, s in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(tree, [x / count for x in noisy])


def clipped(
    loss: Callable[..., Float[Array, ""]],
    params: Any,
    batch: tuple[Array, Array],
    /,
    *,
    max_norm: float,
    **static: Any,
) -> tuple[Float[Array, "B"], Any]:
    """The loss of each example, and the sum of their gradients, each of at most that norm."""

    def of_one(x: Array, target: Array) -> tuple[Array, Any]:
        return jax.value_and_grad(lambda p: loss(p, (x[None], target[None]), **static))(params)

    losses, grads = jax.vmap(of_one)(*batch)
    squares = [jnp.sum(jnp.square(g), tuple(range(1, g.ndim))) for g in jax.tree.leaves(grads)]
    norms = jnp.sqrt(sum(squares[1:], squares[0]))
    factors = jnp.where(norms > max_norm, max_norm / norms, jnp.ones_like(norms))
    return losses, jax.tree.map(lambda g: jnp.tensordot(factors, g, 1), grads)
