"""Layouts on an explicit mesh: where the result of a contraction over sharded axes is to lie."""

import functools
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from jaxtyping import Array


def like(x: Array) -> NamedSharding | None:
    """The sharding of `x` for `out_sharding`, so that a cotangent lies as what it belongs to does.

    What was not put on the explicit mesh of now counts as whole on each of its devices. None outside of an
    explicit mesh, where nothing has to be said: there XLA finds a layout, or, in `shard_map`, everything is
    one shard's.
    """
    sharding: Any = jax.typeof(x).sharding
    if sharding.mesh.empty:
        sharding = NamedSharding(jax.sharding.get_abstract_mesh(), PartitionSpec())
    return sharding if AxisType.Explicit in sharding.mesh.axis_types else None


def alike(*arrays: Array) -> tuple[Array, ...]:
    """Arrays of one shape, each with the sharding that their sum has, as `jnp.where` wants of its cases."""
    if all(like(a) == like(arrays[0]) for a in arrays):
        return arrays
    layout = like(functools.reduce(jnp.add, arrays))
    return tuple(a if layout is None else jax.sharding.reshard(a, layout) for a in arrays)


def laid_as(x: Array, other: Array) -> Array:
    """`x` with the sharding of `other`, which has as many axes, on an explicit mesh; elsewhere `x`."""
    layout = like(other)
    return x if layout is None else jax.sharding.reshard(x, layout)


def laid_together(*arrays: Array) -> tuple[Array, ...]:
    """Arrays of as many axes, all laid out as the first of them that is in parts on an explicit mesh."""
    first = next((a for a in arrays if any(parts(a, axis) > 1 for axis in range(a.ndim))), None)
    return arrays if first is None else tuple(laid_as(a, first) for a in arrays)


def by_rows(x: Array, other: Array) -> Array:
    """`x` with its first axis laid out as that of `other` and the others whole, on an explicit mesh."""
    layout = like(other)
    if layout is None:
        return x
    first = layout.spec[0] if layout.spec else None
    spec = PartitionSpec(first, *(None,) * (x.ndim - 1))
    return jax.sharding.reshard(x, NamedSharding(layout.mesh, spec))


def laid_along(x: Array, other: Array, axes: Sequence[int | None]) -> Array:
    """`x` with each axis laid out as that one of `other` of the axes, whole where it is None or one entry, on
    an explicit mesh.
    """
    layout = like(other)
    if layout is None:
        return x
    spec = [*layout.spec, *(None,) * (other.ndim - len(layout.spec))]
    laid = [
        None if axis is None or size == 1 else spec[axis] for size, axis in zip(x.shape, axes, strict=True)
    ]
    return jax.sharding.reshard(x, NamedSharding(layout.mesh, PartitionSpec(*laid)))


def whole(x: Array) -> Array:
    """`x` whole on each device of an explicit mesh; elsewhere `x`."""
    layout = like(x)
    return x if layout is None else jax.sharding.reshard(x, NamedSharding(layout.mesh, PartitionSpec()))


def parts(x: Array, axis: int) -> int:
    """In how many parts an axis is on an explicit mesh."""
    layout = like(x)
    names = None if layout is None or axis >= len(layout.spec) else layout.spec[axis]
    if layout is None or names is None:
        return 1
    return prod(layout.mesh.shape[name] for name in (names if isinstance(names, tuple) else (names,)))


def copies(x: Array) -> int:
    """On how many devices of an explicit mesh each part of `x` lies; 1 elsewhere."""
    layout = like(x)
    return 1 if layout is None else layout.mesh.size // prod(parts(x, axis) for axis in range(x.ndim))


def is_split(x: Array) -> bool:
    """Whether the last axis of `x` is in parts on an explicit mesh: nothing can be looked up in it."""
    layout = like(x)
    return layout is not None and len(layout.spec) == x.ndim and layout.spec[-1] is not None


def rows_like(x: Array) -> NamedSharding | None:
    """That of an array with the axes of `x` and one more that is whole."""
    return _first_axes(x, x.ndim, x.ndim + 1)


def reshaped(x: Array, shape: Sequence[int]) -> Array:
    """`x` in another shape behind its first axis, which stays as it is laid out."""
    return jnp.reshape(x, shape, out_sharding=_first_axes(x, 1, len(shape)))


def split_axis(x: Array, axis: int, parts: int) -> Array:
    """`x` with an axis in two, (parts, the rest): the first of them lies as the axis did."""
    shape = (*x.shape[:axis], parts, x.shape[axis] // parts, *x.shape[axis + 1 :])
    return jnp.reshape(
        x, shape, out_sharding=_spread(x, lambda spec: (*spec[: axis + 1], None, *spec[axis + 1 :]))
    )


def merge_axes(x: Array, axis: int) -> Array:
    """`x` with an axis and the next one in one, which lies as the first of them did."""
    shape = (*x.shape[:axis], x.shape[axis] * x.shape[axis + 1], *x.shape[axis + 2 :])
    return jnp.reshape(x, shape, out_sharding=_spread(x, lambda spec: (*spec[: axis + 1], *spec[axis + 2 :])))


def varying(tree: Any) -> frozenset[str]:
    """The mesh axes of a `shard_map` over which a leaf varies."""
    manual = [getattr(jax.typeof(leaf), "manual_axis_type", None) for leaf in jax.tree.leaves(tree)]
    return frozenset[str]().union(*(getattr(axes, "varying", ()) for axes in manual))


def made_to_vary(x: Any, axes: frozenset[str]) -> Any:
    """A leaf that varies over those mesh axes, too; the transpose of that is the sum over the shards."""
    lacking = tuple(sorted(axes - varying(x))) if axes else ()
    return jax.lax.pcast(x, lacking, to="varying") if lacking else x


def varying_as(tree: Any, others: Any) -> Any:
    """A tree whose leaves vary over whatever a leaf of `others` does, as that of a scan over them must."""
    axes = varying(others)
    return jax.tree.map(lambda x: made_to_vary(x, axes), tree)


def _spread(x: Array, change: Callable[[tuple[Any, ...]], tuple[Any, ...]]) -> NamedSharding | None:
    """The sharding of `x` with its spec, an entry for each axis, changed."""
    sharding = like(x)
    if sharding is None:
        return None
    spec = (*sharding.spec, *(None,) * x.ndim)[: x.ndim]
    return NamedSharding(sharding.mesh, PartitionSpec(*change(spec)))


def _first_axes(x: Array, kept: int, axes: int) -> NamedSharding | None:
    """The sharding of an array of so many axes, of which the first `kept` lie as those of `x`."""
    return _spread(x, lambda spec: (*spec[:kept], *(None,) * (axes - kept)))
