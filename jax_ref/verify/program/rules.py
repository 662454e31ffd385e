"""Derivatives that are written by hand in a function: custom rules in its program that are not JAX's own."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
from jaxtyping import PyTree

from jax_ref.verify.program.source import JAX

RULES = ("custom_vjp_call", "custom_jvp_call", "custom_transpose_call")
"""The beginnings of the names of the primitives that have one."""


def has_own(function: Callable[..., PyTree], args: tuple[PyTree, ...]) -> bool:
    """Whether there is one; of `jax.nn` and the like there may be any."""
    found = jax.make_jaxpr(function)(*args)
    return any(_is_own(equation) for equation in _equations(found.jaxpr))


def _is_own(equation: Any) -> bool:
    name = equation.primitive.name
    return name.startswith(RULES) and not _is_of_jax(equation)


def _is_of_jax(equation: Any) -> bool:
    """Whether the function and its rule are both defined in JAX."""
    places = [place for part in equation.params.values() if (place := _place(part))]
    return bool(places) and all(JAX in place for place in places)


def _place(part: Any) -> str:
    """Where a function or a program comes from, as JAX describes it; nothing of what is neither."""
    described = getattr(getattr(part, "jaxpr", part), "debug_info", None)
    return str(getattr(described, "func_src_info", ""))


def _equations(jaxpr: Any) -> Iterator[Any]:
    """The equations of a program and of the programs within."""
    for equation in jaxpr.eqns:
        yield equation
        inner = jax.tree.leaves(list(equation.params.values()), is_leaf=_is_program)
        for program in filter(_is_program, inner):
            yield from _equations(getattr(program, "jaxpr", program))


def _is_program(x: Any) -> bool:
    return hasattr(x, "eqns") or hasattr(x, "jaxpr")
