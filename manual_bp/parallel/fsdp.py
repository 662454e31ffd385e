r"""Fully sharded data parallelism: each device has a part of every param, and some of the examples.

    w    = [w^1 .. w^n]                                             (1)
    y^s  = f(w, x^s)                                                (2)
    dw^s = (sum_r dw_r)^s,    dw_r by device r's examples           (3)

The whole of w is on a device only while a layer computes: gathered (1) in its forward, let go, and gathered
again in its backward, where its gradient is summed and split in one collective (3). The small ones of the
split leaves are one flat message each way, as what a message costs is most of theirs. A large leaf is one of
its own: it is not copied into another, and is whole no longer than it is needed, while others are in parts. A
leaf that does not divide is whole on all devices, and its gradient summed (all such leaves of a layer
together).

`layers` runs a stack of them under a scan, as XLA merges a second gather with the first where the loop is
unrolled, and so keeps w.

Rajbhandari et al. 2020, arXiv:1910.02054 (ZeRO-3).
"""

from collections.abc import Callable
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec as P
from jaxtyping import Array

from manual_bp import checks
from manual_bp.bridge import Op
from manual_bp.parallel import axes, collectives

ALONE = 2**17
"""Bytes of a whole leaf from which on it is a message of its own: sending them is more than beginning to."""


def layout(params: Any, size: int) -> Any:
    """The dimension of each leaf that is split over `size` devices, the first that divides; None if none.

    Parts of a first dimension are joined without being moved. `params` are whole, arrays or their shapes, and
    those of one layer. The tree is hashable if theirs is.
    """
    checks.counts("fsdp.layout", size=size)

    def dim(leaf: Any) -> int | None:
        return next((d for d, length in enumerate(leaf.shape) if length and length % size == 0), None)

    return jax.tree.map(dim, params)


def specs(layout: Any, axis: str, *, stacked: bool = False) -> Any:
    """How the params lie on the mesh, for `jax.shard_map`; with a leading axis of layers if `stacked`."""

    def spec(dim: int | None) -> P:
        return P() if dim is None else P(*[None] * (dim + stacked), axis)

    return jax.tree.map(spec, layout, is_leaf=_is_none)


def gather(params: Any, layout: Any, *, axis: str | None) -> Any:
    """The whole of params of which each device has a part."""
    axes.check("fsdp.gather", axis)
    leaves, structure = jax.tree.flatten(params)
    dims = _dims("fsdp.gather", "params", structure, layout)
    if axis is None:
        return params
    whole: list[Any] = list(axes.vary(leaves, axis))
    large, small = _messages(leaves, dims, axes.size(axis))
    for i, dim in large:
        whole[i], _ = collectives.all_gather.fwd(leaves[i], axis=axis, dim=dim)  # (1)
    for together in small:
        flat = jnp.concatenate([leaves[i].ravel() for i, _ in together])
        rows, _ = collectives.all_gather.fwd(flat[None], axis=axis)  # (1)
        parts = _cut(rows, [leaves[i].shape for i, _ in together])
        for (i, dim), part in zip(together, parts, strict=True):
            whole[i] = _joined(part, dim)
    return jax.tree.unflatten(structure, whole)


def scatter(grads: Any, layout: Any, *, axis: str | None) -> Any:
    """A device's part of the sum of gradients by whole params."""
    op = "fsdp.scatter"
    axes.check(op, axis)
    leaves, structure = jax.tree.flatten(grads)
    dims = _dims(op, "grads", structure, layout)
    if axis is None:
        return grads
    axes.shares(op, {"grads": grads}, axis)
    n = axes.size(axis)
    parts: list[Any] = list(leaves)
    rest = [i for i, dim in enumerate(dims) if dim is None]
    for i, x in zip(rest, lax.psum([leaves[i] for i in rest], axis) if rest else [], strict=True):
        parts[i] = x
    _check_parts(op, leaves, dims, n, axis)
    large, small = _messages(leaves, dims, 1)
    for i, dim in large:
        parts[i], _ = collectives.reduce_scatter.fwd(leaves[i], axis=axis, dim=dim)  # (3)
    for together in small:
        split = [_split(leaves[i], dim, n) for i, dim in together]
        flat = jnp.concatenate([x.reshape(n, -1) for x in split], 1)
        row, _ = collectives.reduce_scatter.fwd(flat, axis=axis)  # (3)
        for (i, _), part in zip(together, _cut(row, [x.shape[1:] for x in split]), strict=True):
            parts[i] = part[0]
    return jax.tree.unflatten(structure, parts)


class _Pair(NamedTuple):
    fwd: Callable[..., tuple[Any, Any]]
    bwd: Callable[..., Any]


class Layers(_Pair):
    """`fwd(params, x, *, layer, layout, axis, **static) -> (y, residuals)`, and its `bwd`."""


def _layers_fwd(
    params: Any, x: Any, *, layer: Op, layout: Any, axis: str | None, **static: Any
) -> tuple[Any, Any]:
    """The output of the last layer, and what each saved.

    `params` are a device's parts with a leading axis of layers, `layout` that of one layer. `layer` has
    `fwd(params, x) -> (x, residuals)` and its `bwd`, whose residuals hold no params.
    """

    def step(x: Any, part: Any) -> tuple[Any, Any]:
        return layer.fwd(gather(part, layout, axis=axis), x, **static)  # (1), (2)

    return lax.scan(step, axes.vary(x, axis), params)


def _layers_bwd(
    params: Any, res: Any, dy: Any, *, layer: Op, layout: Any, axis: str | None, **static: Any
) -> tuple[Any, Any]:
    """The cotangents of a device's parts, and of `x`."""

    def step(dy: Any, of_layer: tuple[Any, Any]) -> tuple[Any, Any]:
        part, saved = of_layer
        d_params, dx = layer.bwd(gather(part, layout, axis=axis), saved, dy, **static)  # (1) once more
        return dx, scatter(d_params, layout, axis=axis)  # (3)

    dx, d_params = lax.scan(step, axes.vary(dy, axis), (params, res), reverse=True)
    return d_params, dx


layers = Layers(_layers_fwd, _layers_bwd)


def _is_none(x: Any) -> bool:
    return x is None


def _dims(op: str, name: str, structure: Any, layout: Any) -> list[int | None]:
    try:
        return structure.flatten_up_to(layout)
    except ValueError:
        raise ValueError(
            f"{op}: {name} and layout have different trees; expected the layout of these params"
        ) from None


Leaf = tuple[int, int]
"""The position of a split leaf, and its dimension that is split."""


def _messages(leaves: list[Any], dims: list[int | None], parts: int) -> tuple[list[Leaf], list[list[Leaf]]]:
    """The split leaves that go alone, and those that go together, of one dtype; each is one of `parts`."""
    large: list[Leaf] = []
    small: dict[Any, list[Leaf]] = {}
    for i, (leaf, dim) in enumerate(zip(leaves, dims, strict=True)):
        if dim is None:
            continue
        if parts * leaf.nbytes >= ALONE:
            large.append((i, dim))
        else:
            small.setdefault(leaf.dtype, []).append((i, dim))
    return large, list(small.values())


def _cut(rows: Array, shapes: list[tuple[int, ...]]) -> list[Array]:
    """A message of rows, as the arrays (rows, *shape) that are in it one after the other."""
    found, start = [], 0
    for shape in shapes:
        end = start + prod(shape)
        found.append(rows[:, start:end].reshape(-1, *shape))
        start = end
    return found


def _joined(parts: Array, dim: int) -> Array:
    """Parts (n, *part) put together along a dimension."""
    shape = list(parts.shape[1:])
    shape[dim] *= len(parts)
    return jnp.moveaxis(parts, 0, dim).reshape(shape)


def _split(x: Array, dim: int, n: int) -> Array:
    """The parts (n, *part) of an array along a dimension."""
    shape = (*x.shape[:dim], n, x.shape[dim] // n, *x.shape[dim + 1 :])
    return jnp.moveaxis(x.reshape(shape), dim, 0)


def _check_parts(op: str, leaves: list[Any], dims: list[int | None], n: int, axis: str) -> None:
    for i, (x, dim) in enumerate(zip(leaves, dims, strict=True)):
        if dim is not None and (dim >= x.ndim or x.shape[dim] % n):
            raise ValueError(
                f"{op}: leaf {i} of grads has shape {x.shape}; expected its dimension {dim} to divide by "
                f"{n}, the size of mesh axis {axis!r}"
            )
