"""The reference with one of its reductions held constant: what a forgotten path through a mean gives."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
from jaxtyping import PyTree

REDUCTIONS = {
    "reduce_sum": "sum",
    "reduce_max": "maximum",
    "reduce_min": "minimum",
    "reduce_prod": "product",
    "argmax": "argmax",
}
INLINED = {"jit": "jaxpr", "pjit": "jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr"}
"""Calls that are looked into, and the name of their program."""

LIMIT = 8
"""Reductions tried."""


def frozen(
    reference: Callable[..., PyTree], args: tuple[PyTree, ...]
) -> Iterator[tuple[str, Callable[..., PyTree]]]:
    """For each reduction in the reference its description, and the reference with that one held constant."""
    program, shapes = jax.make_jaxpr(reference, return_shape=True)(*args)
    found: list[str] = []
    _evaluate(program.jaxpr, program.consts, jax.tree.leaves(args), None, found)
    tree = jax.tree.structure(shapes)
    for which, text in enumerate(found[:LIMIT]):

        def held(*given: PyTree, which: int = which) -> PyTree:
            outputs = _evaluate(program.jaxpr, program.consts, jax.tree.leaves(given), which, [])
            return jax.tree.unflatten(tree, outputs)

        yield text, held


def _evaluate(jaxpr: Any, consts: Any, args: Any, which: int | None, found: list[str]) -> list[Any]:
    """Run a program, with a `stop_gradient` at its reduction number `which`; `found` lists them all."""
    values: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    values |= dict(zip(jaxpr.invars, args, strict=True))

    def read(v: Any) -> Any:
        return v.val if hasattr(v, "val") else values[v]

    for equation in jaxpr.eqns:
        name, inputs = equation.primitive.name, [read(v) for v in equation.invars]
        if name in INLINED:
            inner = equation.params[INLINED[name]]
            outputs = _evaluate(inner.jaxpr, inner.consts, inputs, which, found)
        else:
            outputs = equation.primitive.bind(*inputs, **equation.primitive.get_bind_params(equation.params))
            outputs = outputs if equation.primitive.multiple_results else [outputs]
        if name in REDUCTIONS:
            axes = equation.params.get("axes", ())
            number = len(found)
            found.append(f"the {REDUCTIONS[name]} over axes {tuple(axes)} of an array {inputs[0].shape}")
            if number == which:
                outputs = [jax.lax.stop_gradient(x) for x in outputs]
        values |= dict(zip(equation.outvars, outputs, strict=True))
    return [read(v) for v in jaxpr.outvars]
