"""Resolution of the oracle: the coarsest dtype inside the reference, and whether it draws random numbers.

A reference that fixes a dtype for itself is no more exact than that, also for arguments in float64; one that
draws random numbers draws others in float64, and must be differentiated in its own dtypes.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import DTypeLike, PyTree

from jax_ref.verify.oracle import wide
from jax_ref.verify.program.raised import told
from jax_ref.verify.trees import dtype_of, is_floating_dtype

DRAW = ("random_bits", "threefry2x32", "rng_bit_generator", "rng_uniform")
"""Primitives that draw random numbers: for the same key others in float64."""


class Resolution(NamedTuple):
    """The coarsest dtype that float64 is rounded to in a reference, and whether it draws random numbers."""

    dtype: np.dtype
    draws: bool
    refuses: str = ""
    """What it raises for arguments in float64, if it does not take them."""

    @property
    def own(self) -> bool:
        """Whether the oracle is autodiff in the reference's own dtypes."""
        return self.draws or bool(self.refuses)

    @property
    def eps(self) -> float:
        """The machine epsilon of the dtype."""
        return float(jnp.finfo(self.dtype).eps)


def of(reference: Callable[..., PyTree], args: PyTree) -> Resolution:
    """That of a reference for arguments in float64."""
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), dtype_of(x)), args)
    leaves, tree = jax.tree.flatten(shapes)
    return _of(reference, tree, tuple(leaves))


@functools.lru_cache(maxsize=32)
def _of(reference: Callable[..., PyTree], tree: Any, leaves: tuple[jax.ShapeDtypeStruct, ...]) -> Resolution:
    with wide():
        try:
            steps = list(_steps(jax.make_jaxpr(reference)(*jax.tree.unflatten(tree, leaves)).jaxpr))
        except Exception as error:  # it cannot be called so
            return Resolution(np.dtype(np.float64), False, told(error))
    dtype = jnp.dtype(jnp.float64)
    for step in steps:
        if any(_dtype(v) == jnp.float64 for v in step.invars):
            for v in step.outvars:
                dtype = coarser(dtype, _dtype(v)) if is_floating_dtype(_dtype(v)) else dtype
    return Resolution(dtype, any(step.primitive.name in DRAW for step in steps))


def coarsest_inside(function: Callable[..., PyTree], *shapes: PyTree) -> np.dtype | None:
    """The coarsest floating dtype of any value in a function; None if it cannot be called so."""
    try:
        traced = jax.make_jaxpr(function)(*shapes)
    except Exception:  # of the user's code, which may be made for one dtype only
        return None
    values = [v for step in _steps(traced.jaxpr) for v in (*step.invars, *step.outvars)]
    found = {_dtype(v) for v in (*traced.jaxpr.outvars, *values)}
    return functools.reduce(coarser, filter(is_floating_dtype, found), np.dtype(np.float64))


def coarser(one: DTypeLike, other: DTypeLike) -> np.dtype:
    """The one of two floating dtypes that has fewer digits."""
    return max(jnp.dtype(one), jnp.dtype(other), key=lambda dtype: jnp.finfo(dtype).eps)


def notes(found: Resolution) -> list[str]:
    """What the report says of it."""
    if found.draws:
        return [
            "the reference draws random numbers, which are others in float64: the oracle is autodiff in its "
            "own dtypes"
        ]
    if found.refuses:
        return [
            f"the reference does not take float64, so that the oracle is autodiff in its own dtypes: "
            f"{found.refuses}"
        ]
    if found.dtype != jnp.float64:
        return [f"the reference rounds to {found.dtype.name} inside: no more digits are asked for"]
    return []


def _steps(jaxpr: Any) -> Iterator[Any]:
    """The equations of a program, and of the programs within."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jax.tree.leaves(list(equation.params.values()), is_leaf=_is_program):
            if _is_program(inner):
                yield from _steps(getattr(inner, "jaxpr", inner))


def _is_program(x: Any) -> bool:
    return hasattr(x, "eqns") or hasattr(x, "jaxpr")


def _dtype(v: Any) -> Any:
    return getattr(v.aval, "dtype", np.bool_)
