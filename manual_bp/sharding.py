"""Layouts on an explicit mesh: where the result of a contraction over sharded axes is to lie."""

from typing import Any

import jax
from jax.sharding import AxisType, NamedSharding
from jaxtyping import Array


def like(x: Array) -> NamedSharding | None:
    """The sharding of `x` for `out_sharding`, so that a cotangent lies as what it belongs to does.

    None outside of an explicit mesh, where nothing has to be said: there XLA finds a layout, or, in
    `shard_map`, everything is one shard's.
    """
    sharding: Any = jax.typeof(x).sharding
    return sharding if AxisType.Explicit in sharding.mesh.axis_types else None
