"""The gradients that come of each of the mistakes in `steps`.

The reference is differentiated step by step in reverse, each step by `jax.vjp`, and at one place of the
source (at every turn of a loop) the cotangent of an input is another than the right one. A single program
computes all of these gradients, one after the other: which mistake is made is an argument of it.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.diagnosis.primitive_mistakes import CHANGES, VALUES, Change, Here, Mistake, mistakes
from jax_ref.verify.oracle import wide
from jax_ref.verify.points.point import Point
from jax_ref.verify.program import source
from jax_ref.verify.program.steps import Constant, Program, Step, opened, read
from jax_ref.verify.trees import is_floating, labelled, widened

LIMIT = 600
"""The most mistakes tried."""

ENTRIES = 10_000_000
"""The most numbers in their gradients together."""


def gradients(
    reference: Callable[..., PyTree], point: Point, names: tuple[str, ...]
) -> dict[Mistake, dict[str, np.ndarray]]:
    """Each mistake, and the gradient that comes of it at a point: cotangents by path."""
    with wide():
        args, d_output = widened((point.args, point.d_output))
        leaves = labelled(args, names)
        wanted = {path: is_floating(x) for path, x in leaves.items()}
        tried = mistakes(opened(reference, *args), list(wanted.values()))
        entries = sum(np.size(x) for path, x in leaves.items() if wanted[path]) * len(tried)
        if not 0 < len(tried) <= LIMIT or entries > ENTRIES:
            return {}
        computed = [np.asarray(x) for x in _all_of(reference)(args, d_output)]
    paths = [path for path, flag in wanted.items() if flag]
    return {
        mistake: {path: x[i] for path, x in zip(paths, computed, strict=True)}
        for i, mistake in enumerate(tried)
    }


@functools.lru_cache(maxsize=8)
def _all_of(reference: Callable[..., PyTree]) -> Any:
    """`(args, d_output)` -> for each floating leaf, its cotangents by all mistakes, stacked."""

    def run(args: tuple[PyTree, ...], d_output: PyTree) -> list[Any]:
        leaves, program = jax.tree.leaves(args), opened(reference, *args)
        floating = [is_floating(x) for x in leaves]
        tried = mistakes(program, floating)
        return jax.lax.map(
            lambda number: _sweep(program, leaves, floating, jax.tree.leaves(d_output), tried, number),
            jnp.arange(len(tried)),
        )

    return jax.jit(run)


class Done(NamedTuple):
    """A step on the way there, as the way back needs it; `moving` are the inputs that have a cotangent."""

    step: Step
    inputs: list[Any]
    outputs: list[Any]
    moving: list[int]
    pull: Callable[..., Any]


def _sweep(
    program: Program, leaves: list[Any], floating: list[bool], d_output: list[Any], tried: list[Mistake],
    chosen: jax.Array,
) -> list[Any]:  # fmt: skip
    """The cotangents of the floating leaves, with the chosen one of the mistakes made."""
    made = [(slot, i, mistake.change) for i, mistake in enumerate(tried) for slot in mistake.slots]

    def here(step: Step) -> list[tuple[int, Change, jax.Array]]:
        """The number of the input, what is changed, and whether it is chosen."""
        place = source.place(step)
        return [(slot.number, change, chosen == i) for slot, i, change in made if slot.place == place]

    there = list(_way_there(program, leaves, floating, here))
    d_values: dict[int, Any] = {}
    _add(d_values, program.outputs, d_output)
    for done in reversed(there):
        if any(number in d_values for number in done.step.outputs):
            _step_back(done, d_values, here(done.step))
    return [
        d_values.get(number, jnp.zeros_like(x))
        for number, x, flag in zip(program.inputs, leaves, floating, strict=True)
        if flag
    ]


def _way_there(
    program: Program, leaves: list[Any], floating: list[bool], here: Callable[[Step], Any]
) -> Iterator[Done]:
    """The steps that depend on a floating input, with constants and masks changed where that is chosen."""
    values = program.captured | dict(zip(program.inputs, leaves, strict=True))
    depend = {number for number, flag in zip(program.inputs, floating, strict=True) if flag}
    for step in program.steps:
        inputs = [read(values, x) for x in step.inputs]
        for number, change, is_chosen in here(step):
            if change.name in VALUES:
                instead = jnp.full_like(inputs[number], VALUES[change.name](step))
                inputs[number] = jnp.where(is_chosen, instead, inputs[number])
        numbered = [(k, x) for k, x in enumerate(step.inputs) if not isinstance(x, Constant)]
        moving = [k for k, x in numbered if x in depend and is_floating(inputs[k])]

        def of_moving(*given: Any, step: Step = step, inputs: Any = inputs, moving: Any = moving) -> Any:
            replaced = dict(zip(moving, given, strict=True))
            return step.run([replaced.get(k, x) for k, x in enumerate(inputs)])

        if moving:
            outputs, pull = jax.vjp(of_moving, *(inputs[k] for k in moving))
            depend |= set(step.outputs)
            yield Done(step, inputs, outputs, moving, pull)
        else:
            outputs = step.run(inputs)
        values |= dict(zip(step.outputs, outputs, strict=True))


def _step_back(done: Done, d_values: dict[int, Any], here: list[tuple[int, Change, jax.Array]]) -> None:
    """Take the cotangents of a step's outputs out of `d_values`, and add those of its inputs."""
    given = zip(done.step.outputs, done.outputs, strict=True)
    d_outputs = [_cotangent(d_values.pop(number, None), x) for number, x in given]
    d_inputs = dict(zip(done.moving, done.pull(d_outputs), strict=True))
    for number, change, is_chosen in here:
        if change.name in CHANGES and number in d_inputs:
            at = Here(done.step, done.inputs, done.outputs, number, d_outputs, d_inputs[number])
            instead = CHANGES[change.name](at, *change.options)
            d_inputs[number] = jnp.where(is_chosen, instead, d_inputs[number])
    _add(d_values, [done.step.inputs[k] for k in d_inputs], list(d_inputs.values()))


def _add(d_values: dict[int, Any], numbers: Any, cotangents: list[Any]) -> None:
    """Add cotangents to those that are there; constants and integers have none."""
    for number, d in zip(numbers, cotangents, strict=True):
        if not isinstance(number, Constant) and d.dtype != jax.dtypes.float0:
            d_values[number] = d_values[number] + d if number in d_values else d


def _cotangent(d: Any, output: Any) -> Any:
    if not is_floating(output):
        return np.zeros(jnp.shape(output), jax.dtypes.float0)
    return jnp.zeros_like(output) if d is None else d
