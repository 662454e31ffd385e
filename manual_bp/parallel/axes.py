"""Mesh axes: which there are, how many devices are along one, and what varies over it.

An axis is a name, several names that count as one axis, or None, for which nothing is communicated: a block
written with axes is the block of one device too.
"""

from typing import Any

import jax
from jax import lax
from jaxtyping import Array, Integer

from manual_bp import checks
from manual_bp.sharding import made_to_vary, varying

Axis = str | tuple[str, ...] | None


def names(axis: Axis) -> tuple[str, ...]:
    """The names of an axis, none for None."""
    return () if axis is None else (axis,) if isinstance(axis, str) else axis


def check(op: str, axis: Axis, option: str = "axis") -> None:
    """Raise `ValueError` unless every name is that of an axis of the mesh here; say which is nearest."""
    for name in names(axis):
        try:
            lax.axis_size(name)
        except NameError:
            known = jax.sharding.get_abstract_mesh().axis_names
            if not known:
                raise ValueError(
                    f"{op}: {option} was {name!r}, and there is no mesh here: call it inside jax.shard_map"
                ) from None
            checks.choice(op, option, name, known)
            raise ValueError(
                f"{op}: {option} {name!r} is not manual here: name it in axis_names of jax.shard_map"
            ) from None


def size(axis: Axis) -> int:
    """How many devices there are along an axis: 1 for None."""
    found = 1
    for name in names(axis):
        found *= lax.axis_size(name)
    return found


def index(axis: str | None) -> Integer[Array, ""] | int:
    """The number s of this device along an axis: 0 for None."""
    return 0 if axis is None else lax.axis_index(axis)


def divisible(op: str, what: str, count: int, axis: str | None) -> int:
    """How many of `count` each device along the axis has; raise `ValueError` if they do not divide."""
    n = size(axis)
    if count % n:
        raise ValueError(f"{op}: {what}; expected {count} to divide by {n}, the size of mesh axis {axis!r}")
    return count // n


def vary(tree: Any, axis: Axis) -> Any:
    """A tree whose leaves vary over the axis: the copy of a replicated leaf that each device goes on with."""
    return jax.tree.map(lambda x: made_to_vary(x, frozenset(names(axis))), tree)


def are_tracked(axis: Axis) -> bool:
    """Whether JAX knows what varies over an axis: not with `check_vma=False`, nor under `jax.vmap`."""
    return any(varying(lax.axis_index(name)) for name in names(axis))


def shares(op: str, trees: dict[str, Any], axis: Axis) -> None:
    """Raise `ValueError` for a leaf that does not vary over the axis, which is a sum already."""
    if not are_tracked(axis):
        return
    for root, tree in trees.items():
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            for name in names(axis):
                if name not in varying(leaf):
                    raise ValueError(
                        f"{op}: {root}{jax.tree_util.keystr(path)} does not vary over mesh axis {name!r}: it "
                        f"is summed already, and a second sum would make it {size(name)} times as large"
                    )
