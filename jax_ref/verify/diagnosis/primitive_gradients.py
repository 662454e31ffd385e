"""Mistakes in one step of the reference: the gradients that come of each mistake in the table.

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

from jax_ref.verify.comparison.compare import Seen
from jax_ref.verify.comparison.reference import Reference
from jax_ref.verify.diagnosis.explanation import Context, Explanation
from jax_ref.verify.diagnosis.primitive_mistakes import Pullback
from jax_ref.verify.diagnosis.primitive_places import Mistake, mistakes
from jax_ref.verify.diagnosis.sizes import named
from jax_ref.verify.oracle import wide
from jax_ref.verify.points.point import Point
from jax_ref.verify.program import source
from jax_ref.verify.program.compiled import Seldom
from jax_ref.verify.program.steps import Constant, Program, Step, opened, read
from jax_ref.verify.trees import is_floating, widened

LIMIT = 600
"""The most mistakes tried."""

ENTRIES = 10_000_000
"""The most numbers in their gradients together."""


def statistics(path: str, seen: list[Seen], context: Context) -> Iterator[Explanation]:
    """A mean, a variance or a maximum is taken for a constant."""
    for mistake in context.mistaken(seen[0], True):
        yield Explanation(mistake.row.kind, mistake.text, functools.partial(_at, path, mistake, context))


def derivatives(path: str, seen: list[Seen], context: Context) -> Iterator[Explanation]:
    """The derivative of a step is another one, or what goes through the step is off by a factor."""
    others = context.mistaken(seen[0], False)
    for mistake in others:
        yield Explanation(mistake.row.kind, mistake.text, functools.partial(_at, path, mistake, context))
    for mistake in (*context.mistaken(seen[0], True), *others):
        if mistake.row.name in ("statistic", "constant") and mistake.step:
            without = functools.partial(_at, path, mistake, context)
            yield from _scaled_share(path, seen[0], context, mistake.step, without)


def _at(path: str, mistake: Mistake, context: Context, seen: Seen) -> np.ndarray | None:
    """The cotangent that comes of a mistake at a point."""
    return context.mistaken(seen, mistake.row.kind == "statistic").get(mistake, {}).get(path)


def _scaled_share(
    path: str, first: Seen, context: Context, step: str, without: Callable[[Seen], np.ndarray | None]
) -> Iterator[Explanation]:
    """What goes through a step is off by a factor: a mean for a sum, n - 1 for n, the 2 of a square.

    `without` is the cotangent where the derivative of the step is left out; the share is the rest.
    """
    rest, c = without(first), first.cotangents[path]
    if rest is None or not np.any(c.exact - rest):
        return
    share = c.exact - rest
    factor = float(np.vdot(share, c.actual - rest) / np.vdot(share, share))

    def predicted(s: Seen) -> np.ndarray | None:
        rest = without(s)
        return None if rest is None else rest + factor * (s.cotangents[path].exact - rest)

    times = named(factor, context.reference.leaves(first.point.args))
    yield Explanation("factor", f"what goes through {step} is {times} times what it should be", predicted)


def mistaken(reference: Reference, seen: Seen, statistics: bool) -> dict[Mistake, dict[str, np.ndarray]]:
    """Each mistake, and the gradient that comes of it at a point: cotangents by path.

    Those that take a statistic for a constant are few, and have a program of their own, which is soon
    compiled. There is none where there are too many, or where a program cannot be run step by step.
    """
    try:
        return _gradients(reference, seen.point, statistics)
    except Exception:  # an equation of any library may need more than `bind`
        return {}


def _gradients(reference: Reference, point: Point, statistics: bool) -> dict[Mistake, dict[str, np.ndarray]]:
    with wide():
        args, d_output = widened((point.args, point.d_output))
        leaves = reference.leaves(args)
        wanted = {path: is_floating(x) for path, x in leaves.items()}
        tried = _tried(opened(reference.function, *args), list(wanted.values()), statistics)
        entries = sum(np.size(x) for path, x in leaves.items() if wanted[path]) * len(tried)
        if not 0 < len(tried) <= LIMIT or entries > ENTRIES:
            return {}
        computed = [np.asarray(x) for x in _all_of(reference, statistics)(args, d_output)]
    paths = [path for path, flag in wanted.items() if flag]
    return {
        mistake: {path: x[i] for path, x in zip(paths, computed, strict=True)}
        for i, mistake in enumerate(tried)
    }


def _tried(program: Program, floating: list[bool], statistics: bool) -> list[Mistake]:
    return [m for m in mistakes(program, floating) if (m.row.kind == "statistic") is statistics]


@functools.lru_cache(maxsize=8)
def _all_of(reference: Reference, statistics: bool) -> Any:
    """`(args, d_output)` -> for each floating leaf, its cotangents by all mistakes, stacked."""

    def run(args: tuple[PyTree, ...], d_output: PyTree) -> list[Any]:
        leaves, program = jax.tree.leaves(args), opened(reference.function, *args)
        floating = [is_floating(x) for x in leaves]
        tried = _tried(program, floating, statistics)
        return jax.lax.map(
            lambda number: _sweep(program, leaves, floating, jax.tree.leaves(d_output), tried, number),
            jnp.arange(len(tried)),
        )

    return Seldom(run)


class Linearized(NamedTuple):
    """A step of the forward sweep with its pullback; `active` are the inputs that have a cotangent."""

    step: Step
    inputs: list[Any]
    outputs: list[Any]
    active: list[int]
    pull: Callable[..., Any]


def _sweep(
    program: Program, leaves: list[Any], floating: list[bool], d_output: list[Any], tried: list[Mistake],
    chosen: jax.Array,
) -> list[Any]:  # fmt: skip
    """The cotangents of the floating leaves, with the chosen one of the mistakes made."""
    made = [(slot, i, mistake) for i, mistake in enumerate(tried) for slot in mistake.slots]

    def here(step: Step) -> list[tuple[int, Mistake, jax.Array]]:
        """The number of the input, the mistake, and whether it is chosen."""
        place = source.place(step)
        return [(slot.number, mistake, chosen == i) for slot, i, mistake in made if slot.place == place]

    linearized = list(_forward(program, leaves, floating, here))
    d_values: dict[int, Any] = {}
    _add(d_values, program.outputs, d_output)
    for done in reversed(linearized):
        if any(number in d_values for number in done.step.outputs):
            _backward(done, d_values, here(done.step))
    return [
        d_values.get(number, jnp.zeros_like(x))
        for number, x, flag in zip(program.inputs, leaves, floating, strict=True)
        if flag
    ]


def _forward(
    program: Program, leaves: list[Any], floating: list[bool], here: Callable[[Step], Any]
) -> Iterator[Linearized]:
    """The forward sweep: the active steps, with constants and masks changed where that is chosen."""
    values = program.captured | dict(zip(program.inputs, leaves, strict=True))
    depend = {number for number, flag in zip(program.inputs, floating, strict=True) if flag}
    for step in program.steps:
        inputs = [read(values, x) for x in step.inputs]
        for number, mistake, is_chosen in here(step):
            if mistake.row.value:
                instead = jnp.full_like(inputs[number], mistake.row.value(step))
                inputs[number] = jnp.where(is_chosen, instead, inputs[number])
        numbered = [(k, x) for k, x in enumerate(step.inputs) if not isinstance(x, Constant)]
        active = [k for k, x in numbered if x in depend and is_floating(inputs[k])]

        def of_active(*given: Any, step: Step = step, inputs: Any = inputs, active: Any = active) -> Any:
            replaced = dict(zip(active, given, strict=True))
            return step.run([replaced.get(k, x) for k, x in enumerate(inputs)])

        if active:
            outputs, pull = jax.vjp(of_active, *(inputs[k] for k in active))
            depend |= set(step.outputs)
            yield Linearized(step, inputs, outputs, active, pull)
        else:
            outputs = step.run(inputs)
        values |= dict(zip(step.outputs, outputs, strict=True))


def _backward(done: Linearized, d_values: dict[int, Any], here: list[tuple[int, Mistake, jax.Array]]) -> None:
    """A step of the reverse sweep: take the cotangents of its outputs out of `d_values`, add its inputs'."""
    given = zip(done.step.outputs, done.outputs, strict=True)
    d_outputs = [_cotangent(d_values.pop(number, None), x) for number, x in given]
    d_inputs = dict(zip(done.active, done.pull(d_outputs), strict=True))
    for number, mistake, is_chosen in here:
        if mistake.row.cotangent and number in d_inputs:
            at = Pullback(done.step, done.inputs, done.outputs, number, d_outputs, d_inputs[number])
            instead = mistake.row.cotangent(at, *mistake.parts)
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
