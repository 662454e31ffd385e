"""The gradient to believe: `jax.vjp` of the reference, in the dtypes of its arguments."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import DTypeLike, PyTree


def is_floating(leaf: Any) -> bool:
    """Whether a leaf is of real floating point."""
    return jnp.issubdtype(dtype_of(leaf), jnp.floating)


def dtype_of(leaf: Any) -> Any:
    """The dtype of an array, of a PRNG key or of a Python number."""
    return leaf.dtype if hasattr(leaf, "dtype") else jnp.result_type(leaf)


@contextlib.contextmanager
def wide() -> Iterator[None]:
    """A context with float64, whatever the process is set to, that mixes with what else a function has."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        yield


def cast(tree: PyTree, dtype: DTypeLike) -> PyTree:
    """`tree` with its floating point leaves in `dtype` and the others as they are."""
    return jax.tree.map(lambda x: x.astype(dtype) if is_floating(x) else x, tree)


def value_and_vjp(
    function: Callable[..., PyTree], args: tuple[PyTree, ...], d_output: PyTree
) -> tuple[PyTree, tuple[PyTree, ...]]:
    """The output of `function(*args)`, and the cotangents: a tree for each argument.

    `d_output` is taken in the dtypes of the output, which a function may fix for itself. Leaves that are not
    floating point have None in place of a cotangent.
    """
    leaves, tree = jax.tree.flatten(args)
    flags = [is_floating(leaf) for leaf in leaves]

    def of_floating(*given: Any) -> PyTree:
        remaining = iter(given)
        merged = [next(remaining) if flag else x for x, flag in zip(leaves, flags, strict=True)]
        return function(*jax.tree.unflatten(tree, merged))

    output, vjp = jax.vjp(of_floating, *(x for x, flag in zip(leaves, flags, strict=True) if flag))
    remaining = iter(
        vjp(jax.tree.map(lambda d, y: d.astype(y.dtype) if is_floating(y) else d, d_output, output))
    )
    return output, jax.tree.unflatten(tree, [next(remaining) if flag else None for flag in flags])
