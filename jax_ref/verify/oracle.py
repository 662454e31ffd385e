"""The gradient to believe: `jax.vjp` of the reference, in float64 where its arguments are."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import DTypeLike, PyTree


def is_differentiable(argument: PyTree) -> bool:
    """Whether `argument` has leaves and all of them are floating point."""
    leaves = jax.tree.leaves(argument)
    return bool(leaves) and all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in leaves)


def cast(tree: PyTree, dtype: DTypeLike) -> PyTree:
    """`tree` with its floating point leaves in `dtype` and the others as they are."""
    return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, tree)


def value_and_vjp(
    reference: Callable[..., PyTree], args: tuple[PyTree, ...], d_output: PyTree, **static: Any
) -> tuple[PyTree, tuple[PyTree, ...]]:
    """The output of `reference(*args, **static)` and a cotangent for each differentiable argument."""
    flags = [is_differentiable(arg) for arg in args]

    def of_differentiable(*given: PyTree) -> PyTree:
        remaining = iter(given)
        merged = [next(remaining) if f else a for f, a in zip(flags, args, strict=True)]
        return reference(*merged, **static)

    primals = [arg for arg, flag in zip(args, flags, strict=True) if flag]
    output, vjp = jax.vjp(of_differentiable, *primals)
    return output, vjp(d_output)
