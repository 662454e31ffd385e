"""The table of mistakes in the derivative of a single primitive, and where in a program each can be made.

A row of `TABLE` says what the cotangent of a step's input is instead of the right one, or what the input
itself is instead. A mistake is made at a place of the source, at every turn of a loop, for one input of the
steps there.
"""

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jax_ref.verify.program import source
from jax_ref.verify.program.steps import Constant, Program, Step
from jax_ref.verify.trees import is_floating

Options = tuple[int, ...]

MOST_PARTS = 4
"""The most parts of an array that are exchanged."""


class Primitive(NamedTuple):
    """What the table needs to know of a primitive: its usual name where JAX has another, and properties."""

    called: str = ""
    reduces: str = ""
    """What a reduction gives, in words."""
    neutral: float | None = None
    """The constant operand that changes nothing."""
    symmetric: bool = True
    """Whether the Jacobian is its own transpose, for those that are linear."""
    slope_of_output: Callable[[Any], Any] | None = None
    """The slope as a function of the output."""
    confused_with: str = ""
    """The primitive whose slope is taken for this one's."""


PRIMITIVES = {
    "add": Primitive(neutral=0),
    "sub": Primitive(neutral=0),
    "mul": Primitive("product", neutral=1),
    "div": Primitive("quotient", neutral=1),
    "tanh": Primitive(slope_of_output=lambda y: 1 - y * y, confused_with="logistic"),
    "logistic": Primitive("sigmoid", slope_of_output=lambda y: y * (1 - y), confused_with="tanh"),
    "exp": Primitive(slope_of_output=lambda y: y),
    "dot_general": Primitive("matrix product", symmetric=False),
    "conv_general_dilated": Primitive(symmetric=False),
    "cumsum": Primitive(symmetric=False),
    "transpose": Primitive(symmetric=False),
    "rev": Primitive(symmetric=False),
    "reduce_sum": Primitive(reduces="sum"),
    "reduce_max": Primitive(reduces="maximum"),
    "reduce_min": Primitive(reduces="minimum"),
    "reduce_prod": Primitive(reduces="product"),
}


def primitive(name: str) -> Primitive:
    """What is known of a primitive; for most, nothing."""
    return PRIMITIVES.get(name, Primitive())


def called(name: str) -> str:
    """What a primitive is called in a report."""
    return primitive(name).called or name


class Operand(NamedTuple):
    """An input of a step, where a mistake may be made."""

    step: Step
    number: int

    @property
    def aval(self) -> Any:
        """Its shape and dtype."""
        return self.step.equation.invars[self.number].aval

    @property
    def made(self) -> list[Any]:
        """The shapes and dtypes of the step's outputs."""
        return [v.aval for v in self.step.equation.outvars]

    @property
    def primitive(self) -> Primitive:
        """What is known of the step's primitive."""
        return primitive(self.step.name)

    @property
    def constant(self) -> Any:
        """Its value, if that is written in the program."""
        x = self.step.inputs[self.number]
        return x.value if isinstance(x, Constant) else None

    @property
    def differentiable(self) -> bool:
        """Whether it may have a cotangent."""
        is_constant = isinstance(self.step.inputs[self.number], Constant)
        return not is_constant and is_floating(self.aval)

    @property
    def elementwise(self) -> bool:
        """Whether it has the shape of the only output."""
        return self.differentiable and len(self.made) == 1 and self.aval.shape == self.made[0].shape

    @property
    def is_mask(self) -> bool:
        """Whether it chooses between two values."""
        is_constant = isinstance(self.step.inputs[self.number], Constant)
        chooses = self.step.name == "select_n" and self.number == 0 and len(self.step.inputs) == 3
        return chooses and not is_constant


class Pullback(NamedTuple):
    """A step of the reverse sweep, at one of its inputs: values, cotangents of the outputs, the right one."""

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

    @property
    def x(self) -> Any:
        """The input."""
        return self.inputs[self.number]

    def of_input(self, x: Any) -> list[Any]:
        """The outputs as functions of the input."""
        return self.step.run([*self.inputs[: self.number], x, *self.inputs[self.number + 1 :]])

    def pulled(self, x: Any, d_outputs: list[Any]) -> Any:
        """The cotangent of the input at another value of it, or for other cotangents."""
        return jax.vjp(self.of_input, x)[1](d_outputs)[0]

    def scaled(self, name: str, x: Any) -> Any:
        """The cotangent of the output times the slope of an elementwise primitive whose output is `x`."""
        slope = primitive(name).slope_of_output
        assert slope is not None
        return self.d_output * slope(x)


class Row(NamedTuple):
    """A mistake: its name, the kind of finding, its text, the operands that it fits, and what it does.

    `fits` lists the options that it can be made with, mostly `ONCE` or none. Of the last two fields one is
    given: the cotangent of the operand, or the value of the operand, that is taken instead of the right one.
    """

    name: str
    kind: str
    text: str
    fits: Callable[[Operand], list[Options]]
    cotangent: Callable[..., Any] | None = None
    value: Callable[[Step], float | None] | None = None


def _if(condition: Callable[[Operand], bool]) -> Callable[[Operand], list[Options]]:
    """Fits without options where a condition holds."""
    return lambda at: [()] if condition(at) else []


def _pairs(at: Operand) -> list[Options]:
    """The pairs of parts that an array is split into, if all are of one shape."""
    alike = at.step.name == "split" and len({v.shape for v in at.made}) == 1
    few = alike and at.differentiable and len(at.made) <= MOST_PARTS
    return list(combinations(range(len(at.made)), 2)) if few else []


def _exchanged(back: Pullback, one: int, other: int) -> Any:
    d_outputs = list(back.d_outputs)
    d_outputs[one], d_outputs[other] = d_outputs[other], d_outputs[one]
    return back.pulled(back.x, d_outputs)


def _square(shape: tuple[int, ...]) -> bool:
    return len(shape) > 1 and shape[-1] == shape[-2]


TABLE = (
    Row(
        "statistic", "statistic", "it takes {reduction} for a constant{where}",
        _if(lambda at: at.differentiable and bool(at.primitive.reduces)),
        cotangent=lambda back: jnp.zeros_like(back.d_input),
    ),
    Row(
        "constant", "derivative", "the derivative of {by} is left out",
        _if(lambda at: at.differentiable and not at.primitive.reduces),
        cotangent=lambda back: jnp.zeros_like(back.d_input),
    ),
    Row(
        "one", "derivative", "the derivative of {by} is taken for one",
        _if(lambda at: at.elementwise),
        cotangent=lambda back: back.d_output,
    ),
    Row(
        "not transposed", "derivative", "the Jacobian of {by} is not transposed",
        _if(lambda at: at.elementwise and not at.primitive.symmetric),
        cotangent=lambda back: jax.jvp(back.of_input, (back.x,), (back.d_output,))[1][0],
    ),
    Row(
        "cotangent transposed", "derivative", "the cotangent of {by} is transposed",
        _if(lambda at: at.differentiable and at.step.name == "dot_general" and _square(at.made[0].shape)),
        cotangent=lambda back: back.pulled(back.x, [jnp.swapaxes(back.d_output, -1, -2)]),
    ),
    Row(
        "output's formula", "derivative", "the slope of {by} is that for its output, taken at its input",
        _if(lambda at: at.differentiable and at.primitive.slope_of_output is not None),
        cotangent=lambda back: back.scaled(back.step.name, back.x),
    ),
    Row(
        "at the output", "derivative", "the slope of {by} is taken at its output, not at its input",
        _if(lambda at: at.differentiable and at.primitive.slope_of_output is not None),
        cotangent=lambda back: back.pulled(back.outputs[0], back.d_outputs),
    ),
    Row(
        "another's slope", "derivative", "the slope of {by} is that of the {other}",
        _if(lambda at: at.differentiable and bool(at.primitive.confused_with)),
        cotangent=lambda back: back.scaled(primitive(back.step.name).confused_with, back.outputs[0]),
    ),
    Row(
        "sign", "derivative", "the derivative of {by} has the wrong sign",
        _if(lambda at: at.differentiable),
        cotangent=lambda back: -back.d_input,
    ),
    Row(
        "exchanged", "exchanged", "the cotangents of outputs {first} and {second} of {step} are exchanged",
        _pairs,
        cotangent=_exchanged,
    ),
    Row(
        "left out", "constant", "the constant {constant:g} of {step} is left out",
        _if(lambda at: _is_telling_constant(at)),
        value=lambda step: primitive(step.name).neutral,
    ),
    Row(
        "first of two", "constant",
        "the mask of {step} is left out: the first of its two values is used everywhere",
        _if(lambda at: at.is_mask),
        value=lambda step: 0,
    ),
    Row(
        "second of two", "constant",
        "the mask of {step} is left out: the second of its two values is used everywhere",
        _if(lambda at: at.is_mask),
        value=lambda step: 1,
    ),
)  # fmt: skip
"""The mistakes of whoever writes a derivative by hand, the most usual first."""


def _is_telling_constant(at: Operand) -> bool:
    """Whether the operand is a number whose absence would change the result."""
    if at.constant is None or at.primitive.neutral is None or at.aval.shape:
        return False
    return float(at.constant) != at.primitive.neutral


class Slot(NamedTuple):
    """An input of the steps at a place in the source."""

    place: tuple[Any, ...]
    number: int


class Mistake(NamedTuple):
    """A row of the table with its options, the slots where it is made, its text, and the step alone."""

    row: Row
    options: Options
    slots: frozenset[Slot]
    text: str
    step: str = ""


def mistakes(program: Program, floating: list[bool]) -> list[Mistake]:
    """All that are tried, in the order of the table; `floating` says which inputs have a cotangent.

    Beside those at a single place there are those at all places: every statistic taken for a constant, every
    tanh with the wrong slope.
    """
    found: dict[Mistake, None] = {}
    for step in _active(program, floating):
        found |= dict.fromkeys(_in_step(step))
    statistics = [m for m in found if m.row.kind == "statistic"]
    if len(statistics) > 1:
        text = " and ".join(m.text.removeprefix("it takes ") for m in statistics)
        found[Mistake(TABLE[0], (), _slots(statistics), f"it takes {text}")] = None
    for name in (name for name, known in PRIMITIVES.items() if known.slope_of_output):
        for row in (row for row in TABLE if row.kind == "derivative"):
            same = [m for m in found if m.row is row and _only(m, name)]
            if len(same) > 1:
                text = _text(row, name, by=f"each {called(name)}")
                found[Mistake(row, (), _slots(same), text)] = None
    return sorted(found, key=lambda m: TABLE.index(m.row))


def _slots(several: list[Mistake]) -> frozenset[Slot]:
    return frozenset().union(*(m.slots for m in several))


def _only(mistake: Mistake, name: str) -> bool:
    return all(slot.place[-1] == name for slot in mistake.slots)


def _active(program: Program, floating: list[bool]) -> Iterator[Step]:
    """The steps of the source whose inputs depend on a floating input of the program."""
    active = {number for number, flag in zip(program.inputs, floating, strict=True) if flag}
    for step in program.steps:
        if active & {x for x in step.inputs if not isinstance(x, Constant)}:
            active |= set(step.outputs)
            if step.in_source:
                yield step


def _in_step(step: Step) -> Iterator[Mistake]:
    """The rows that fit each of the step's inputs."""
    if not is_floating(step.equation.outvars[0].aval):
        return
    expression = source.expression(step)
    where = f" in {expression}" if expression else ""
    what = f"the {called(step.name)}{where}"
    alone = sum(not isinstance(x, Constant) for x in step.inputs) == 1
    for number in range(len(step.inputs)):
        at = Operand(step, number)
        by = what if alone else f"{what} by its input {number + 1}"
        reduction = _reduction(at)
        slots = frozenset({Slot(source.place(step), number)})
        named = {"statistic": reduction + where, "derivative": by}
        for row in TABLE:
            for options in row.fits(at):
                first, second = (k + 1 for k in options) if options else (0, 0)
                text = _text(
                    row, step.name, by=by, step=what, where=where, reduction=reduction, constant=at.constant,
                    first=first, second=second,
                )  # fmt: skip
                yield Mistake(row, options, slots, text, named.get(row.kind, ""))


def _reduction(at: Operand) -> str:
    """A reduction in words; nothing for other steps."""
    if not at.primitive.reduces:
        return ""
    axes = tuple(at.step.equation.params["axes"])
    return f"the {at.primitive.reduces} over axes {axes} of an array {at.aval.shape}"


def _text(row: Row, name: str, **words: Any) -> str:
    return row.text.format(other=called(primitive(name).confused_with), **words)
