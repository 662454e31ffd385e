"""Collectives as functions of whole arrays: the meaning of each, without devices.

The first axis of an argument is that of the devices: `x[s]` is what device s has. So is that of a result that
differs from device to device; one that is the same on all has none.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

Shares = Float[Array, "n *B"]
"""An array for each device."""


def copy(x: Float[Array, "*B"], devices: int) -> Shares:
    """`x` for each device."""
    return jnp.stack([x] * devices)


def all_reduce(x: Shares) -> Float[Array, "*B"]:
    """The sum."""
    return jnp.sum(x, 0)


def all_gather(x: Shares, dim: int = 0) -> Shares:
    """The parts put together along an axis, for each device."""
    return copy(jnp.concatenate(list(x), dim), len(x))


def reduce_scatter(x: Shares, dim: int = 0) -> Shares:
    """The sum in as many parts along an axis as there are devices."""
    return jnp.stack(jnp.split(jnp.sum(x, 0), len(x), dim))


def shift(x: Shares) -> Shares:
    """What the device before has."""
    return jnp.roll(x, 1, 0)


def all_to_all(x: Shares, dim: int = 0) -> Shares:
    """Part s of every device's array, put together, for device s."""
    parts = [jnp.split(of_device, len(x), dim) for of_device in x]
    return jnp.stack([jnp.concatenate([of_device[s] for of_device in parts], dim) for s in range(len(x))])
