"""A reference run step by step, as its jaxpr says, so that single steps and single uses can be changed."""

from collections.abc import Callable, Iterator
from typing import Any

import jax

INLINED = {"jit": "jaxpr", "pjit": "jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr"}
"""Calls that are looked into, and the name of their program."""

After = Callable[[Any, list[Any], list[Any]], list[Any]]
"""`(equation, inputs, outputs) -> outputs`, called after each step."""


class Apart:
    """A value of which every use takes a copy of its own, in the order of the uses."""

    def __init__(self, copies: Iterator[jax.Array]):
        self.copies = copies


def evaluate(jaxpr: Any, consts: Any, args: Any, after: After) -> list[Any]:
    """The outputs of a program for flat `args`."""
    values: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    values |= dict(zip(jaxpr.invars, args, strict=True))

    def read(v: Any) -> Any:
        return v.val if hasattr(v, "val") else values[v]

    for equation in jaxpr.eqns:
        name, inputs = equation.primitive.name, [read(v) for v in equation.invars]
        if name in INLINED:
            inner = equation.params[INLINED[name]]
            outputs = evaluate(inner.jaxpr, inner.consts, inputs, after)
        else:
            inputs = [_used(x) for x in inputs]
            outputs = equation.primitive.bind(*inputs, **equation.primitive.get_bind_params(equation.params))
            outputs = outputs if equation.primitive.multiple_results else [outputs]
            outputs = after(equation, inputs, outputs)
        values |= dict(zip(equation.outvars, outputs, strict=True))
    return [_used(read(v)) for v in jaxpr.outvars]


def _used(x: Any) -> Any:
    return next(x.copies) if isinstance(x, Apart) else x
