"""What can be done wrong in one step of the reference: the usual mistakes of whoever writes its derivative.

A mistake is made at a place of the source, at every turn of a loop, for one input of the steps there.
`CHANGES` say what its cotangent is instead of the right one, `VALUES` what the input itself is.
"""

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jax_ref.verify.program import source
from jax_ref.verify.program.steps import Constant, Program, Step

NAMES = {"dot_general": "matrix product", "logistic": "sigmoid", "mul": "product", "div": "quotient"}
"""What JAX calls otherwise."""

REDUCTIONS = {"reduce_sum": "sum", "reduce_max": "maximum", "reduce_min": "minimum", "reduce_prod": "product"}

NEUTRAL = {"add": 0, "sub": 0, "mul": 1, "div": 1}
"""The constant that changes nothing."""

NOT_SYMMETRIC = {"dot_general", "conv_general_dilated", "cumsum", "transpose", "rev"}
"""Linear steps whose Jacobian is another than its transpose."""

BY_OUTPUT: dict[str, Callable[[Any], Any]] = {
    "tanh": lambda y: 1 - y * y,
    "logistic": lambda y: y * (1 - y),
    "exp": lambda y: y,
}
"""Slopes by the output."""

OTHER = {"tanh": "logistic", "logistic": "tanh"}
"""Functions whose slopes are taken for each other's."""

MOST_PARTS = 4
"""The most parts of an array that are exchanged."""


class Change(NamedTuple):
    """A name in `CHANGES` or `VALUES`, and what more it is called with."""

    name: str
    options: tuple[int, ...] = ()


class Slot(NamedTuple):
    """An input of the steps at a place in the source."""

    place: tuple[Any, ...]
    number: int


class Mistake(NamedTuple):
    """What is done wrong, and in which slots; the kind of finding, and a description; and the step alone."""

    change: Change
    slots: frozenset[Slot]
    kind: str
    text: str
    step: str = ""


class Here(NamedTuple):
    """A step on the way back: its inputs and outputs, their cotangents, and the right one of an input."""

    step: Step
    inputs: list[Any]
    outputs: list[Any]
    number: int
    d_outputs: list[Any]
    d_input: Any

    @property
    def d_output(self) -> Any:
        """The cotangent of the only output."""
        return self.d_outputs[0]

    def of_input(self, x: Any) -> list[Any]:
        """The outputs as functions of the input."""
        return self.step.run([*self.inputs[: self.number], x, *self.inputs[self.number + 1 :]])

    def pulled(self, x: Any, d_outputs: list[Any]) -> Any:
        """The cotangent of the input at another value of it, or for other cotangents."""
        return jax.vjp(self.of_input, x)[1](d_outputs)[0]

    @property
    def x(self) -> Any:
        """The input."""
        return self.inputs[self.number]


def _not_transposed(at: Here) -> Any:
    return jax.jvp(at.of_input, (at.x,), (at.d_output,))[1][0]


def _exchanged(at: Here, one: int, other: int) -> Any:
    d_outputs = list(at.d_outputs)
    d_outputs[one], d_outputs[other] = d_outputs[other], d_outputs[one]
    return at.pulled(at.x, d_outputs)


CHANGES: dict[str, Callable[..., Any]] = {
    "constant": lambda at: jnp.zeros_like(at.d_input),
    "one": lambda at: at.d_output,
    "not transposed": _not_transposed,
    "cotangent transposed": lambda at: at.pulled(at.x, [jnp.swapaxes(at.d_output, -1, -2)]),
    "output's formula": lambda at: at.d_output * BY_OUTPUT[at.step.name](at.x),
    "at the output": lambda at: at.pulled(at.outputs[0], at.d_outputs),
    "another's slope": lambda at: at.d_output * BY_OUTPUT[OTHER[at.step.name]](at.outputs[0]),
    "sign": lambda at: -at.d_input,
    "exchanged": _exchanged,
}
"""What the cotangent of an input is instead, the most usual first."""

VALUES: dict[str, Callable[[Step], float]] = {
    "left out": lambda step: NEUTRAL[step.name],
    "first of two": lambda step: 0,
    "second of two": lambda step: 1,
}
"""What a constant or a mask is instead."""

TEXTS = {
    "constant": "the derivative of {} is left out",
    "sign": "the derivative of {} has the wrong sign",
    "one": "the derivative of {} is taken for one",
    "not transposed": "the Jacobian of {} is not transposed",
    "cotangent transposed": "the cotangent of {} is transposed",
    "at the output": "the slope of {} is taken at its output, not at its input",
    "output's formula": "the slope of {} is that for its output, taken at its input",
    "another's slope": "the slope of {} is that of the {}",
}
"""Descriptions of changes of the derivative of a step."""


def mistakes(program: Program, floating: list[bool]) -> list[Mistake]:
    """All that are tried; `floating` says which inputs of the program have a cotangent."""
    found: dict[Mistake, None] = {}
    for step in _on_the_way(program, floating):
        found |= dict.fromkeys(_in_step(step))
    statistics = [m for m in found if m.kind == "statistic"]
    if len(statistics) > 1:
        text = " and ".join(m.text.removeprefix("it takes ") for m in statistics)
        found[Mistake(Change("constant"), _slots(statistics), "statistic", f"it takes {text}")] = None
    for name in BY_OUTPUT:
        for change in TEXTS:
            same = [m for m in found if m.change.name == change and _only(m, name)]
            if len(same) > 1:
                text = _text(change, f"each {NAMES.get(name, name)}", name)
                found[Mistake(Change(change), _slots(same), "derivative", text)] = None
    order = [*CHANGES, *VALUES]
    return sorted(found, key=lambda m: (m.kind != "statistic", order.index(m.change.name)))


def _slots(several: list[Mistake]) -> frozenset[Slot]:
    return frozenset().union(*(m.slots for m in several))


def _only(mistake: Mistake, name: str) -> bool:
    return all(slot.place[-1] == name for slot in mistake.slots)


def _on_the_way(program: Program, floating: list[bool]) -> Iterator[Step]:
    """The steps of the source whose inputs depend on a floating input of the program."""
    moving = {number for number, flag in zip(program.inputs, floating, strict=True) if flag}
    for step in program.steps:
        if moving & {x for x in step.inputs if not isinstance(x, Constant)}:
            moving |= set(step.outputs)
            if step.in_source:
                yield step


def _in_step(step: Step) -> Iterator[Mistake]:
    given, made = ([v.aval for v in vs] for vs in (step.equation.invars, step.equation.outvars))
    if not jnp.issubdtype(made[0].dtype, jnp.floating):
        return
    where = source.expression(step)
    here = f" in {where}" if where else ""
    what = f"the {NAMES.get(step.name, step.name)}{here}"
    alone = sum(not isinstance(x, Constant) for x in step.inputs) == 1
    for number, (x, aval) in enumerate(zip(step.inputs, given, strict=True)):
        slots = frozenset({Slot(source.place(step), number)})
        if isinstance(x, Constant):
            if step.name in NEUTRAL and not aval.shape and float(x.value) != NEUTRAL[step.name]:
                text = f"the constant {x.value:g} of {what} is left out"
                yield Mistake(Change("left out"), slots, "constant", text)
        elif step.name == "select_n" and number == 0 and len(given) == 3:
            for which in ("first", "second"):
                text = f"the mask of {what} is left out: the {which} of its two values is used everywhere"
                yield Mistake(Change(f"{which} of two"), slots, "constant", text)
        elif jnp.issubdtype(aval.dtype, jnp.floating):
            if step.name in REDUCTIONS:
                reduced = f"{REDUCTIONS[step.name]} over axes {tuple(step.equation.params['axes'])}"
                whole = f"the {reduced} of an array {aval.shape}"
                text = f"it takes {whole} for a constant{here}"
                yield Mistake(Change("constant"), slots, "statistic", text, whole + here)
            by = what if alone else f"{what} by its input {number + 1}"
            for change in _changes(step, aval.shape, made):
                yield Mistake(Change(change), slots, "derivative", _text(change, by, step.name), by)
            if step.name == "split" and len({v.shape for v in made}) == 1 and len(made) <= MOST_PARTS:
                for one, other in combinations(range(len(made)), 2):
                    text = f"the cotangents of outputs {one + 1} and {other + 1} of {what} are exchanged"
                    yield Mistake(Change("exchanged", (one, other)), slots, "exchanged", text)


def _changes(step: Step, shape: tuple[int, ...], made: list[Any]) -> Iterator[str]:
    """Those that fit an input of a shape."""
    output = made[0].shape
    if step.name not in REDUCTIONS:
        yield "constant"
    yield "sign"
    if shape == output and len(made) == 1:
        yield "one"
        if step.name in NOT_SYMMETRIC:
            yield "not transposed"
    if step.name == "dot_general" and len(output) > 1 and output[-1] == output[-2]:
        yield "cotangent transposed"
    if step.name in BY_OUTPUT:
        yield from ("at the output", "output's formula")
    if step.name in OTHER:
        yield "another's slope"


def _text(change: str, what: str, name: str) -> str:
    other = OTHER.get(name, "")
    return TEXTS[change].format(what, NAMES.get(other, other))
