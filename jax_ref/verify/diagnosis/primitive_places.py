"""Enumeration of the mistakes in the table that can be made in a program, each at its place in the source.

A mistake is made at every turn of a loop, for one input of the steps at a place; or at all places of a kind.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from jax_ref.verify.diagnosis.primitive_mistakes import TABLE, Operand, Parts, Row
from jax_ref.verify.diagnosis.primitives import PRIMITIVES, called, primitive
from jax_ref.verify.program import source
from jax_ref.verify.program.steps import Constant, Program, Step
from jax_ref.verify.trees import is_floating


class Slot(NamedTuple):
    """An input of the steps at a place in the source."""

    place: tuple[Any, ...]
    number: int


class Mistake(NamedTuple):
    """A row of the table made in some slots, with the parts that it needs; `step` is one step, in words."""

    row: Row
    parts: Parts
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
        found[Mistake(statistics[0].row, (), _slots(statistics), f"it takes {text}")] = None
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
            for parts in row.fits(at):
                first, second = (k + 1 for k in parts) if len(parts) == 2 else (0, 0)
                text = _text(
                    row, step.name, by=by, step=what, where=where, reduction=reduction, constant=at.constant,
                    first=first, second=second, axis=parts[0] if parts else 0,
                )  # fmt: skip
                yield Mistake(row, parts, slots, text, named.get(row.kind, ""))


def _reduction(at: Operand) -> str:
    """A reduction in words; nothing for other steps and inputs."""
    if not at.is_reduced:
        return ""
    params = at.step.equation.params
    of = f"over axes {tuple(params['axes'])}" if "axes" in params else "by index"
    return f"the {at.primitive.reduces} {of} of an array {at.aval.shape}"


def _text(row: Row, name: str, **words: Any) -> str:
    return row.text.format(other=called(primitive(name).confused_with), **words)
