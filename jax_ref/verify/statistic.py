"""The reference with one of its reductions held constant: what a forgotten path through a mean gives."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jaxtyping import PyTree

from jax_ref.verify.program import opened

REDUCTIONS = {
    "reduce_sum": "sum",
    "reduce_max": "maximum",
    "reduce_min": "minimum",
    "reduce_prod": "product",
    "argmax": "argmax",
}
LIMIT = 8
"""Reductions tried."""


def frozen(
    reference: Callable[..., PyTree], args: tuple[PyTree, ...]
) -> Iterator[tuple[str, Callable[..., PyTree]]]:
    """For each reduction in the reference, and for all: what it is, and the reference with it constant."""
    run = opened(reference, *args)
    found: list[str] = []

    def listed(equation: Any, inputs: list[Any], outputs: list[Any]) -> list[Any]:
        name = equation.primitive.name
        if name in REDUCTIONS:
            axes = tuple(equation.params.get("axes", ()))
            found.append(f"the {REDUCTIONS[name]} over axes {axes} of an array {inputs[0].shape}")
        return outputs

    run(jax.tree.leaves(args), listed)
    single = [(text, {which}) for which, text in enumerate(found[:LIMIT])]
    several = [(" and ".join(found), set(range(len(found))))] if 1 < len(found) <= LIMIT else []
    for text, chosen in single + several:

        def held(*given: PyTree, chosen: set[int] = chosen) -> PyTree:
            numbers = itertools.count()

            def stopped(equation: Any, inputs: list[Any], outputs: list[Any]) -> list[Any]:
                here = equation.primitive.name in REDUCTIONS and next(numbers) in chosen
                return [jax.lax.stop_gradient(x) for x in outputs] if here else outputs

            return run(jax.tree.leaves(given), stopped)

        yield text, held
