"""The oracle: reverse-mode autodiff of the reference by `jax.vjp`, in the dtypes of the arguments.

The dtypes are the caller's choice: float64 within `wide`, or those of the example within `x64_for`.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.trees import cast, floats, is_floating

__all__ = ["cast", "inner", "is_floating", "value_and_vjp", "wide", "x64_for"]


@contextlib.contextmanager
def wide() -> Iterator[None]:
    """A context with float64, whatever the process is set to, that mixes with what else a function has."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        yield


def x64_for(tree: PyTree) -> Any:
    """A context in which `tree` keeps its dtypes, and that takes no x64 from a process that has it."""
    has_float64 = any(leaf.dtype == np.float64 for leaf in floats(tree))
    return jax.enable_x64(has_float64 or jax.config.read("jax_enable_x64"))


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


def inner(output: PyTree, d_output: PyTree) -> Any:
    """The sum of <output, d_output> over the floating leaves: a number whose gradient is the cotangents."""
    pairs = zip(jax.tree.leaves(output), jax.tree.leaves(d_output), strict=True)
    return sum((o * d).sum() for o, d in pairs if is_floating(o))
