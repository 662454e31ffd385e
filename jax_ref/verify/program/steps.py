"""A flat intermediate representation of a function: its jaxpr with calls inlined and short loops unrolled.

It is run step by step, so that single steps and single uses of a value can be changed. Values are numbered:
what a step reads are numbers of values, or constants as they are.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import PyTree

INLINED = {"jit": "jaxpr", "pjit": "jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr"}
"""Primitives that call a program, which is inlined, and the parameter that holds it."""


OWN = ("not in the source",)
"""In place of a source location: the step is a slice or a stack that unrolling a loop has put in."""

UNROLLED = 256
"""The most steps that a loop is unrolled to."""


class Constant(NamedTuple):
    """A value that is written in the program."""

    value: Any


class Step(NamedTuple):
    """An equation of the jaxpr; `within` is the outermost equation that it comes of, and indices within."""

    equation: Any
    within: tuple[Any, ...]
    inputs: tuple[int | Constant, ...]
    outputs: tuple[int, ...]

    @property
    def in_source(self) -> bool:
        """Whether it is in the source, other than the slices and the stacks that unrolling has put in."""
        return self.within[:1] != OWN

    @property
    def name(self) -> str:
        """The primitive's name."""
        return self.equation.primitive.name

    def run(self, inputs: Sequence[Any]) -> list[Any]:
        """The step's outputs."""
        primitive = self.equation.primitive
        outputs = primitive.bind(*inputs, **primitive.get_bind_params(self.equation.params))
        return list(outputs) if primitive.multiple_results else [outputs]


class Program(NamedTuple):
    """The steps in their order, the numbers of the inputs and of the outputs, and the output's tree."""

    steps: tuple[Step, ...]
    captured: dict[int, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int | Constant, ...]
    tree: Any


After = Callable[[Step, list[Any], list[Any]], list[Any]]
"""`(step, inputs, outputs) -> outputs`, called after each step."""


class Apart:
    """A value that is read as a different array at each use, one after the other."""

    def __init__(self, copies: Iterator[jax.Array]):
        self.copies = copies


def opened(function: Callable[..., PyTree], *args: PyTree) -> Program:
    """The program of `function(*args)`, with calls inlined and short loops unrolled.

    Its inputs are the leaves of `args`.
    """
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
    numbers, steps, captured = itertools.count(), [], {}

    def inlined(jaxpr: Any, consts: Any, given: Sequence[Any], within: tuple[Any, ...]) -> list[Any]:
        known = dict(zip(jaxpr.invars, given, strict=True))
        for var, value in zip(jaxpr.constvars, consts, strict=True):
            known[var] = next(numbers)
            captured[known[var]] = value

        def read(v: Any) -> int | Constant:
            return Constant(v.val) if hasattr(v, "val") else known[v]

        for index, equation in enumerate(jaxpr.eqns):
            inputs, here = tuple(map(read, equation.invars)), (*within, index if within else equation)
            if _short(equation):
                outputs = unrolled(equation, inputs)
            elif equation.primitive.name in INLINED:
                inner = equation.params[INLINED[equation.primitive.name]]
                outputs = inlined(inner.jaxpr, inner.consts, inputs, here)
            else:
                outputs = tuple(next(numbers) for _ in equation.outvars)
                steps.append(Step(equation, here, inputs, outputs))
            known |= dict(zip(equation.outvars, outputs, strict=True))
        return [read(v) for v in jaxpr.outvars]

    def unrolled(scan: Any, inputs: Sequence[Any]) -> list[Any]:
        body, length = scan.params["jaxpr"], scan.params["length"]
        xs_from = len(inputs) - _stacked(scan.invars, body.jaxpr.invars)
        ys_from = len(scan.outvars) - _stacked(scan.outvars, body.jaxpr.outvars)
        consts, carry = inputs[: xs_from - ys_from], inputs[xs_from - ys_from : xs_from]
        rows = {}
        for turn in range(length)[:: -1 if scan.params["reverse"] else 1]:
            at_turn = lambda *xs, i=turn: [lax.index_in_dim(x, i, keepdims=False) for x in xs]  # noqa: E731
            row = own(at_turn, scan.invars[xs_from:], inputs[xs_from:])
            made = inlined(body.jaxpr, body.consts, [*consts, *carry, *row], ())
            carry, rows[turn] = made[:ys_from], made[ys_from:]
        stacked = []
        for column, var in enumerate(body.jaxpr.outvars[ys_from:]):
            ys = [rows[turn][column] for turn in range(length)]
            stacked += own(lambda *ys: [jnp.stack(ys)], [var] * length, ys)
        return [*carry, *stacked]

    def own(function: Callable[..., Any], like: Sequence[Any], given: Sequence[Any]) -> list[Any]:
        """Append the steps of a function that is not in the source; `like` have the shapes of its inputs."""
        shapes = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in like]
        program = jax.make_jaxpr(function)(*shapes)
        return inlined(program.jaxpr, program.consts, given, OWN)

    inputs = tuple(next(numbers) for _ in closed.jaxpr.invars)
    outputs = inlined(closed.jaxpr, closed.consts, inputs, ())
    return Program(tuple(steps), captured, inputs, tuple(outputs), jax.tree.structure(shapes))


def _stacked(of_loop: Sequence[Any], of_turn: Sequence[Any]) -> int:
    """How many values, the last ones, are stacked: they have an axis more than in one turn of the loop."""
    return sum(len(a.aval.shape) > len(b.aval.shape) for a, b in zip(of_loop, of_turn, strict=True))


def _short(equation: Any) -> bool:
    """Whether it is a loop that can be unrolled."""
    if equation.primitive.name != "scan":
        return False
    return 0 < equation.params["length"] * len(equation.params["jaxpr"].jaxpr.eqns) <= UNROLLED


def run(program: Program, leaves: Sequence[Any], after: After) -> PyTree:
    """The program's output for other leaves."""
    values = program.captured | dict(zip(program.inputs, leaves, strict=True))
    for step in program.steps:
        inputs = [_used(read(values, x)) for x in step.inputs]
        values |= dict(zip(step.outputs, after(step, inputs, step.run(inputs)), strict=True))
    return jax.tree.unflatten(program.tree, [_used(read(values, x)) for x in program.outputs])


def unchanged(step: Step, inputs: list[Any], outputs: list[Any]) -> list[Any]:
    """An `After` that leaves each step as it is."""
    return outputs


def read(values: dict[int, Any], x: int | Constant) -> Any:
    """The value of a number, or the constant."""
    return x.value if isinstance(x, Constant) else values[x]


def _used(x: Any) -> Any:
    return next(x.copies) if isinstance(x, Apart) else x
