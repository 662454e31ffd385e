"""Pytrees leaf by leaf: paths, dtypes, and casts of the leaves of floating point.

Whether a dtype is of floating point, or of integers, is asked of JAX, and here alone: for NumPy neither
bfloat16 and the floats of eight bits nor the integers of four are numbers.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import DTypeLike, PyTree


def is_floating_dtype(dtype: DTypeLike) -> bool:
    """Whether a dtype is of real floating point."""
    return jnp.issubdtype(dtype, jnp.floating)


def is_floating(leaf: Any) -> bool:
    """Whether a leaf is of real floating point."""
    return is_floating_dtype(dtype_of(leaf))


def is_integer(leaf: Any) -> bool:
    """Whether a leaf is of integers, of which booleans are none."""
    return jnp.issubdtype(dtype_of(leaf), jnp.integer)


def dtype_of(leaf: Any) -> Any:
    """The dtype of an array, of a PRNG key or of a Python number."""
    return leaf.dtype if hasattr(leaf, "dtype") else jnp.result_type(leaf)


def floats(tree: PyTree) -> list[Any]:
    """The floating leaves of `tree`."""
    return [leaf for leaf in jax.tree.leaves(tree) if is_floating(leaf)]


def labelled(
    args: tuple[PyTree, ...], names: tuple[str, ...], is_leaf: Callable[[Any], bool] | None = None
) -> dict[str, Any]:
    """Every leaf of the arguments by its path, as in `params.w`."""
    found = {}
    for name, arg in zip(names, args, strict=True):
        for path, leaf in jax.tree_util.tree_leaves_with_path(arg, is_leaf=is_leaf):
            found[joined(name, path)] = leaf
    return found


def with_leaf(args: tuple[PyTree, ...], names: tuple[str, ...], path: str, x: Any) -> tuple[PyTree, ...]:
    """The arguments with another leaf at `path`."""
    leaves, tree = jax.tree.flatten(args)
    which = list(labelled(args, names)).index(path)
    return jax.tree.unflatten(tree, [*leaves[:which], x, *leaves[which + 1 :]])


def joined(name: str, path: Any) -> str:
    """`name` and a path, as in `params.layers[0].w`."""
    text = ""
    for entry in path:
        if isinstance(entry, jax.tree_util.GetAttrKey):
            text += f".{entry.name}"
        elif isinstance(entry, jax.tree_util.DictKey):
            text += f"[{entry.key!r}]"
        elif isinstance(entry, jax.tree_util.SequenceKey):
            text += f"[{entry.idx}]"
        else:
            text += f"[{entry}]"
    return name + text


def cast(tree: PyTree, dtype: DTypeLike) -> PyTree:
    """`tree` with its floating point leaves in `dtype` and the others as they are."""
    return jax.tree.map(lambda x: x.astype(dtype) if is_floating(x) else x, tree)


def widened(tree: PyTree) -> PyTree:
    """`tree` with its floating leaves in float64."""
    return jax.tree.map(lambda x: float64(x) if is_floating(x) else x, tree)


def float64(x: Any) -> np.ndarray:
    """An array as NumPy's float64."""
    return np.asarray(x).astype(np.float64)


def magnitudes(tree: PyTree) -> PyTree:
    """`tree` with |x| in place of each floating leaf x."""
    return jax.tree.map(lambda x: abs(x) if is_floating(x) else x, tree)


def kind(x: Any) -> str:
    """What a thing is, in words: an array also while it is traced."""
    return "an array" if hasattr(x, "shape") else f"a {type(x).__name__}"


def contained_as(like: PyTree, tree: PyTree) -> PyTree:
    """The leaves of `tree` in the containers of `like`: a reference may return a tuple for a named one."""
    leaves, structure = jax.tree.leaves(tree), jax.tree.structure(like)
    return jax.tree.unflatten(structure, leaves) if len(leaves) == structure.num_leaves else tree
