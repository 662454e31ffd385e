"""Derivatives that are written by hand in a function: custom rules in its program that are not JAX's own."""

import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jaxtyping import PyTree

from jax_ref.verify.program.source import JAX, frames
from jax_ref.verify.trees import is_floating

RULES = ("custom_vjp_call", "custom_jvp_call", "custom_transpose_call")
"""The beginnings of the names of the primitives that have one."""

RUNNING = "custom_derivatives.py"
"""The file of JAX that runs rules."""

DEFJVPS = re.compile(rf"^jvp at .*{re.escape(RUNNING)}")
"""The rule that `defjvps` makes of one function for each argument, as JAX describes it."""


def has_own(function: Callable[..., PyTree], args: tuple[PyTree, ...]) -> bool:
    """Whether there is one; of `jax.nn` and the like there may be any."""
    found = list(_equations(jax.make_jaxpr(function)(*args).jaxpr))
    return any(map(_is_own, found)) or (any(map(_is_by_argument, found)) and _calls_own(function, args))


def _is_own(equation: Any) -> bool:
    name = equation.primitive.name
    return name.startswith(RULES) and not _is_of_jax(equation)


def _is_of_jax(equation: Any) -> bool:
    """Whether the function and its rule are both defined in JAX."""
    places = [place for part in equation.params.values() if (place := _place(part))]
    return bool(places) and all(any(folder in place for folder in JAX) for place in places)


def _is_by_argument(equation: Any) -> bool:
    """Whether its rule is that of `defjvps`, which says nothing of the functions that it is given."""
    return any(DEFJVPS.search(_place(part)) for part in equation.params.values())


def _calls_own(function: Callable[..., PyTree], args: tuple[PyTree, ...]) -> bool:
    """Whether JAX, where it runs the rules, calls what is not its own: steps of the derivative come of it."""
    leaves, tree = jax.tree.flatten(args)
    floating = [is_floating(x) for x in leaves]

    def of_floating(*given: Any) -> PyTree:
        rest = iter(given)
        return function(
            *tree.unflatten(next(rest) if f else x for x, f in zip(leaves, floating, strict=True))
        )

    given = [x for x, f in zip(leaves, floating, strict=True) if f]
    pushed = jax.make_jaxpr(lambda *given: jax.jvp(of_floating, given, given))(*given)
    return any(map(_is_called_by_rules, _equations(pushed.jaxpr)))


def _is_called_by_rules(equation: Any) -> bool:
    files = [code.co_filename for code, _ in frames(equation)]
    inside = itertools.dropwhile(lambda file: not file.endswith(RUNNING), files)
    return any(not file.startswith(JAX) for file in inside)


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
