"""Other values in a derivative: what is from before a step in place of after it, or of another step.

The derivative of a product by one operand is the other operand, that of a tanh is a function of its output: a
backward takes them from what was saved. In their place it may take another value of the same shape, as a
layer's input for its output, or a state before the step for the one after. In a loop that is done at every
turn.
"""

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.comparison.compare import Seen
from jax_ref.verify.comparison.reference import Reference
from jax_ref.verify.diagnosis.explanation import Context, Explanation
from jax_ref.verify.diagnosis.primitives import called, primitive
from jax_ref.verify.oracle import wide
from jax_ref.verify.points.point import Point
from jax_ref.verify.program import source
from jax_ref.verify.program.compiled import Seldom
from jax_ref.verify.program.steps import Constant, Program, Step, opened, run
from jax_ref.verify.trees import is_floating, widened

LIMIT = 300
"""The most mistakes that are tried."""

NUMBERS = 3_000_000
"""The most numbers in all their gradients together."""

BILINEAR = ("mul", "div", "dot_general")
CURVED = ("tanh", "logistic", "exp", "log", "sin", "cos", "sqrt", "rsqrt", "square", "integer_pow", "erf")
"""Primitives whose derivative by one operand is by the value of the other, and by their own."""


class Place(NamedTuple):
    """The steps that a piece of the source makes, one at each turn of a loop."""

    key: Any
    steps: tuple[Step, ...]


class Values(NamedTuple):
    """A value at each turn, or a single one, by its numbers in the program; and what it is, in words.

    Of the number one there are none.
    """

    numbers: tuple[int, ...]
    text: str


class Mistake(NamedTuple):
    """In the derivative by operand `by` of the steps at a place another value stands for operand `of`.

    Where `of` is None, it stands for the output that the slope is a function of. `when` says so if it is from
    before or after the other.
    """

    place: Place
    by: int
    of: int | None
    instead: Values
    when: str = ""


def explanations(path: str, seen: list[Seen], context: Context) -> Iterator[Explanation]:
    """What comes of another value in the derivative of one step."""
    for text in context.with_other_values(seen[0]):

        def predicted(s: Seen, text: str = text) -> np.ndarray | None:
            return context.with_other_values(s).get(text, {}).get(path)

        yield Explanation("value", text, predicted)


def gradients(reference: Reference, seen: Seen) -> dict[str, dict[str, np.ndarray]]:
    """By the text of each mistake the cotangents that come of it; none where there are too many."""
    try:
        return _gradients(reference, seen.point)
    except Exception:  # an equation of any library may need more than `bind`
        return {}


def _gradients(reference: Reference, point: Point) -> dict[str, dict[str, np.ndarray]]:
    with wide():
        args, d_output = widened((point.args, point.d_output))
        leaves = reference.leaves(args)
        program = opened(reference.function, *args)
        mistakes = _mistakes(program, list(leaves.items()))
        paths = [path for path, x in leaves.items() if is_floating(x)]
        numbers = sum(np.size(leaves[path]) for path in paths)
        if not mistakes or len(mistakes) * numbers > NUMBERS:
            return {}
        found = [np.asarray(x) for x in _of_all(reference)(args, d_output)]
    return {
        _text(mistake): {path: x[i] for path, x in zip(paths, found, strict=True)}
        for i, mistake in enumerate(mistakes)
    }


def _text(mistake: Mistake) -> str:
    step, at = mistake.place.steps[0], source.expression(mistake.place.steps[0])
    what = f"the {called(step.name)}{f' in {at}' if at else ''}"
    right = "its output" if mistake.of is None else f"its input {mistake.of + 1}"
    with_ = f"{mistake.instead.text}{mistake.when} for {right}"
    return f"the derivative of {what} by its input {mistake.by + 1} is with {with_}"


def _mistakes(program: Program, leaves: list[tuple[str, Any]]) -> list[Mistake]:
    """Each place whose derivative needs a value, with each other value of its shape; none if too many."""
    places = _places(program)
    values = list(_values(program, places, leaves))
    shape_of = _shapes(program, leaves)
    active = _active(program, leaves)
    made_of = {s.outputs[0]: s for s in program.steps if len(s.outputs) == 1}

    def when(numbers: tuple[int, ...], used: list[int]) -> str:
        """Whether each is what the other is made of, or made of the other."""
        for text, pairs in (
            (", from before the {}", [(made_of.get(b), a) for a, b in zip(numbers, used, strict=True)]),
            (", from after the {}", [(made_of.get(a), b) for a, b in zip(numbers, used, strict=True)]),
        ):
            if all(step is not None and number in _numbers(step) for step, number in pairs):
                (step, _), *_ = pairs
                return f"{text.format(called(step.name))}," if step else ""
        return ""

    found: dict[Any, Mistake] = {}
    for place in places:
        step = place.steps[0]
        for by, of in _needed(step, active):
            operands = [s.outputs[0] if of is None else s.inputs[of] for s in place.steps]
            used = [x for x in operands if not isinstance(x, Constant)]
            if len(used) < len(operands) or not shape_of[used[0]]:
                continue
            if step.name in BILINEAR:
                found[place.key, by, of] = Mistake(place, by, of, Values((), "1"))
            for instead in values:
                numbers = instead.numbers * (len(used) if len(instead.numbers) == 1 else 1)
                alike = len(numbers) == len(used) and shape_of[numbers[0]] == shape_of[used[0]]
                if alike and all(a != b for a, b in zip(numbers, used, strict=True)):
                    another = instead._replace(numbers=numbers)
                    mistake = Mistake(place, by, of, another, when(numbers, used))
                    found.setdefault((place.key, by, of, numbers), mistake)
    return list(found.values()) if len(found) <= LIMIT else []


def _needed(step: Step, active: set[int]) -> Iterator[tuple[int, int | None]]:
    """The operands by which the derivative needs a value, and which."""
    if step.name in BILINEAR and len(step.inputs) == 2:
        for by in (0, 1):
            if _is_active(step.inputs[by], active):
                yield by, 1 - by
    elif step.name in CURVED and _is_active(step.inputs[0], active):
        yield 0, 0
        if primitive(step.name).slope_of_output:
            yield 0, None


def _numbers(step: Step) -> list[int]:
    return [x for x in step.inputs if not isinstance(x, Constant)]


def _is_active(x: int | Constant, active: set[int]) -> bool:
    return not isinstance(x, Constant) and x in active


def _places(program: Program) -> list[Place]:
    found: dict[Any, list[Step]] = {}
    for step in program.steps:
        if step.in_source and len(step.outputs) == 1 and is_floating(step.equation.outvars[0].aval):
            shapes = tuple(v.aval.shape for v in step.equation.invars)  # an einsum makes several products
            found.setdefault((source.place(step), shapes), []).append(step)
    return [Place(key, tuple(steps)) for key, steps in found.items()]


def _values(program: Program, places: list[Place], leaves: list[tuple[str, Any]]) -> Iterator[Values]:
    """The arguments; what the places give; and what they take, which in a loop is from the turn before."""
    for number, (path, leaf) in zip(program.inputs, leaves, strict=True):
        if is_floating(leaf):
            yield Values((number,), path)
    for place in places:
        first, at = place.steps[0], source.expression(place.steps[0])
        what = f"the {called(first.name)}{f' in {at}' if at else ''}"
        yield Values(tuple(s.outputs[0] for s in place.steps), f"the value of {what}")
        for k in range(len(first.inputs)) if len(place.steps) > 1 else ():
            taken = [x for s in place.steps if not isinstance(x := s.inputs[k], Constant)]
            if len(set(taken)) == len(place.steps):
                yield Values(tuple(taken), f"input {k + 1} of {what}")


def _shapes(program: Program, leaves: list[tuple[str, Any]]) -> dict[int, tuple[int, ...]]:
    shapes = {n: np.shape(x) for n, (_, x) in zip(program.inputs, leaves, strict=True)}
    shapes |= {n: np.shape(x) for n, x in program.captured.items()}
    for step in program.steps:
        shapes |= {n: v.aval.shape for n, v in zip(step.outputs, step.equation.outvars, strict=True)}
    return shapes


def _active(program: Program, leaves: list[tuple[str, Any]]) -> set[int]:
    """The values that depend on a floating argument."""
    active = {n for n, (_, x) in zip(program.inputs, leaves, strict=True) if is_floating(x)}
    for step in program.steps:
        if any(_is_active(x, active) for x in step.inputs):
            active |= set(step.outputs)
    return active


@functools.lru_cache(maxsize=8)
def _of_all(reference: Reference) -> Any:
    """`(args, d_output)` -> for each floating leaf, its cotangents by all mistakes, stacked."""

    def gradients(args: tuple[PyTree, ...], d_output: PyTree) -> list[Any]:
        leaves, program = jax.tree.leaves(args), opened(reference.function, *args)
        mistakes = _mistakes(program, list(reference.leaves(args).items()))
        values = dict(zip(program.inputs, leaves, strict=True)) | program.captured

        def noted(step: Step, inputs: list[Any], outputs: list[Any]) -> list[Any]:
            values.update(zip(step.outputs, outputs, strict=True))
            return outputs

        run(program, leaves, noted)
        at: dict[tuple[int, ...], list[tuple[int, Mistake, Any]]] = {}
        for number, mistake in enumerate(mistakes):
            instead = [values[n] for n in mistake.instead.numbers] or [1.0] * len(mistake.place.steps)
            for step, value in zip(mistake.place.steps, instead, strict=True):
                at.setdefault(step.outputs, []).append((number, mistake, value))
        floating = [is_floating(x) for x in leaves]

        def gradient(chosen: jax.Array) -> Any:
            def after(step: Step, inputs: list[Any], outputs: list[Any]) -> list[Any]:
                here = at.get(step.outputs)
                return [_with_other(step, inputs, outputs[0], here, chosen)] if here else outputs

            def function(*given: Any) -> PyTree:
                rest = iter(given)
                return run(
                    program, [next(rest) if f else x for x, f in zip(leaves, floating, strict=True)], after
                )

            return jax.vjp(function, *(x for x, f in zip(leaves, floating, strict=True) if f))[1](d_output)

        return list(jax.lax.map(gradient, jnp.arange(len(mistakes))))

    return Seldom(gradients)


def _with_other(
    step: Step, inputs: list[Any], output: Any, here: list[tuple[int, Mistake, Any]], chosen: jax.Array
) -> Any:
    """The output of a step, whose derivative is with the other value of the mistake that is chosen."""
    stopped = list(map(jax.lax.stop_gradient, inputs))
    result = jax.lax.stop_gradient(output)
    for by, x in enumerate(inputs):
        if not is_floating(x):
            continue
        moved, given = x - stopped[by], [*stopped]
        given[by] = x
        extra = jnp.zeros_like(result)
        for number, mistake, value in here:
            if mistake.by != by:
                continue
            is_it = chosen == number
            if mistake.of is None:
                slope = primitive(step.name).slope_of_output
                assert slope is not None
                change = slope(jax.lax.stop_gradient(value)) - slope(jax.lax.stop_gradient(output))
                extra = extra + jnp.where(is_it, change, 0) * moved
            else:
                instead = jnp.where(
                    is_it, jax.lax.stop_gradient(value), jax.lax.stop_gradient(given[mistake.of])
                )
                given[mistake.of] = instead + moved if mistake.of == by else instead
        (by_one,) = step.run(given)
        by_one = by_one + extra
        result = result + jnp.where(jnp.isfinite(by_one), by_one - jax.lax.stop_gradient(by_one), 0)
    return result
