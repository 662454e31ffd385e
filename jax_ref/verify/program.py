"""A reference run step by step, as its jaxpr says, so that single steps and single uses can be changed."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
from jaxtyping import PyTree

INLINED = {"jit": "jaxpr", "pjit": "jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr"}
"""Calls that are looked into, and the name of their program."""

After = Callable[[Any, list[Any], list[Any]], list[Any]]
"""`(equation, inputs, outputs) -> outputs`, called after each step."""


class Apart:
    """A value of which every use takes a copy of its own, in the order of the uses."""

    def __init__(self, copies: Iterator[jax.Array]):
        self.copies = copies


def opened(function: Callable[..., PyTree], *args: PyTree) -> Callable[[list[Any], After], PyTree]:
    """`(leaves, after) -> output`: the program of `function(*args)`, to be run on other leaves of `args`."""
    program, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
    tree = jax.tree.structure(shapes)

    def run(leaves: list[Any], after: After) -> PyTree:
        return jax.tree.unflatten(tree, _evaluate(program.jaxpr, program.consts, leaves, after))

    return run


def unchanged(equation: Any, inputs: list[Any], outputs: list[Any]) -> list[Any]:
    """An `After` that leaves each step as it is."""
    return outputs


def _evaluate(jaxpr: Any, consts: Any, args: Any, after: After) -> list[Any]:
    values: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    values |= dict(zip(jaxpr.invars, args, strict=True))

    def read(v: Any) -> Any:
        return v.val if hasattr(v, "val") else values[v]

    for equation in jaxpr.eqns:
        name, inputs = equation.primitive.name, [read(v) for v in equation.invars]
        if name in INLINED:
            inner = equation.params[INLINED[name]]
            outputs = _evaluate(inner.jaxpr, inner.consts, inputs, after)
        else:
            inputs = [_used(x) for x in inputs]
            outputs = equation.primitive.bind(*inputs, **equation.primitive.get_bind_params(equation.params))
            outputs = outputs if equation.primitive.multiple_results else [outputs]
            outputs = after(equation, inputs, outputs)
        values |= dict(zip(equation.outvars, outputs, strict=True))
    return [_used(read(v)) for v in jaxpr.outvars]


def _used(x: Any) -> Any:
    return next(x.copies) if isinstance(x, Apart) else x
