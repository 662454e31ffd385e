"""Layouts on an explicit mesh: where the result of a contraction over sharded axes is to lie."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Array


def like(x: Array) -> NamedSharding | None:
    """The sharding of `x` for `out_sharding`, so that a cotangent lies as what it belongs to does.

    None outside of an explicit mesh, where nothing has to be said: there XLA finds a layout, or, in
    `shard_map`, everything is one shard's.
    """
    sharding: Any = jax.typeof(x).sharding
    return sharding if AxisType.Explicit in sharding.mesh.axis_types else None


def rows_like(x: Array) -> NamedSharding | None:
    """That of an array with the axes of `x` and one more that is whole."""
    return _first_axes(x, x.ndim, x.ndim + 1)


def reshaped(x: Array, shape: Sequence[int]) -> Array:
    """`x` in another shape behind its first axis, which stays as it is laid out."""
    return jnp.reshape(x, shape, out_sharding=_first_axes(x, 1, len(shape)))


def _first_axes(x: Array, kept: int, axes: int) -> NamedSharding | None:
    """The sharding of an array of so many axes, of which the first `kept` lie as those of `x`."""
    sharding = like(x)
    if sharding is None:
        return None
    spec = (*sharding.spec, *(None,) * x.ndim)[:kept]
    return NamedSharding(sharding.mesh, PartitionSpec(*spec, *(None,) * (axes - kept)))
