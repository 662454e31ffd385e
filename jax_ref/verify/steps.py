"""The gradients that come of a mistake in one step of the reference, for all steps and the usual mistakes.

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

from jax_ref.verify import source
from jax_ref.verify.evaluate import Point, widened
from jax_ref.verify.oracle import is_floating
from jax_ref.verify.program import Constant, Program, Step, opened, read
from jax_ref.verify.structure import labelled

LIMIT = 600
"""The most mistakes tried."""

ENTRIES = 10_000_000
"""The most numbers in their gradients together."""

REDUCTIONS = {"reduce_sum": "sum", "reduce_max": "maximum", "reduce_min": "minimum", "reduce_prod": "product"}
NAMES = {"dot_general": "matrix product", "logistic": "sigmoid", "mul": "product", "div": "quotient"}
NEUTRAL = {"add": 0, "sub": 0, "mul": 1, "div": 1}
BY_OUTPUT: dict[str, Callable[[Any], Any]] = {
    "tanh": lambda y: 1 - y * y,
    "logistic": lambda y: y * (1 - y),
    "exp": lambda y: y,
}
"""Slopes of functions, by their output."""

NOT_SYMMETRIC = {"dot_general", "conv_general_dilated", "cumsum", "transpose", "rev"}
"""Linear steps whose Jacobian is another than its transpose."""


SLOPES = {
    "sign": "the derivative of {} has the wrong sign",
    "one": "the derivative of {} is taken for one",
    "not transposed": "the Jacobian of {} is not transposed",
    "cotangent transposed": "the cotangent of {} is transposed",
    "at the output": "the slope of {} is taken at its output, not at its input",
    "output's formula": "the slope of {} is that for its output, taken at its input",
}
"""Descriptions of what is done to the derivative of a step."""


class Slot(NamedTuple):
    """An input of the steps at a place in the source."""

    place: tuple[Any, ...]
    number: int


class Mistake(NamedTuple):
    """What is done wrong, a key of `CHANGES`, and in which slots; the kind of finding, and a description."""

    change: str
    slots: frozenset[Slot]
    kind: str
    text: str


class Here(NamedTuple):
    """A step on the way back: its inputs and outputs, the output's cotangent, and the input's right one."""

    step: Step
    inputs: list[Any]
    outputs: list[Any]
    number: int
    d_output: Any
    d_input: Any

    @property
    def x(self) -> Any:
        """The input."""
        return self.inputs[self.number]

    def of_input(self, x: Any) -> Any:
        """The output as a function of the input."""
        return self.step.run([*self.inputs[: self.number], x, *self.inputs[self.number + 1 :]])[0]


def _turned(at: Here) -> Any:
    return jax.jvp(at.of_input, (at.x,), (at.d_output,))[1]


def _cotangent_turned(at: Here) -> Any:
    return jax.vjp(at.of_input, at.x)[1](jnp.swapaxes(at.d_output, -1, -2))[0]


def _at_output(at: Here) -> Any:
    return jax.vjp(at.of_input, at.outputs[0])[1](at.d_output)[0]


CHANGES: dict[str, Callable[[Here], Any]] = {
    "constant": lambda at: jnp.zeros_like(at.d_input),
    "one": lambda at: at.d_output,
    "not transposed": _turned,
    "cotangent transposed": _cotangent_turned,
    "output's formula": lambda at: at.d_output * BY_OUTPUT[at.step.name](at.inputs[0]),
    "at the output": _at_output,
    "sign": lambda at: -at.d_input,
    "left out": lambda at: at.d_input,
    "first": lambda at: at.d_input,
    "second": lambda at: at.d_input,
}
"""What the cotangent of an input is instead, the most usual first. In the last three the input is changed."""

SET = {"first": 0, "second": 1}
"""What a mask is set to."""


def mistakes(program: Program, floating: list[bool]) -> list[Mistake]:
    """All that are tried; `floating` says which inputs of the program have a cotangent."""
    found: dict[Mistake, None] = {}
    for step in _on_the_way(program, floating):
        found |= dict.fromkeys(_in_step(step))
    statistics = [m for m in found if m.kind == "statistic"]
    if len(statistics) > 1:
        text = " and ".join(m.text.removeprefix("it takes ") for m in statistics)
        found[Mistake("constant", _slots(statistics), "statistic", f"it takes {text}")] = None
    for name in BY_OUTPUT:
        for change, text in SLOPES.items():
            same = [m for m in found if m.change == change and {s.place[-1] for s in m.slots} == {name}]
            if len(same) > 1:
                text = text.format(f"each {NAMES.get(name, name)}")
                found[Mistake(change, _slots(same), "derivative", text)] = None
    order = list(CHANGES)
    return sorted(found, key=lambda m: (m.kind != "statistic", order.index(m.change)))


def _slots(several: list[Mistake]) -> frozenset[Slot]:
    return frozenset().union(*(m.slots for m in several))


def gradients(
    reference: Callable[..., PyTree], point: Point, names: tuple[str, ...]
) -> dict[Mistake, dict[str, np.ndarray]]:
    """Each mistake, and the gradient that comes of it at a point: cotangents by path."""
    with jax.enable_x64(True):
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


def _sweep(
    program: Program, leaves: list[Any], floating: list[bool], d_output: list[Any], tried: list[Mistake],
    chosen: jax.Array,
) -> list[Any]:  # fmt: skip
    """The cotangents of the floating leaves, with the chosen one of the mistakes made."""
    values = program.captured | dict(zip(program.inputs, leaves, strict=True))
    moving = {number for number, flag in zip(program.inputs, floating, strict=True) if flag}
    way_back = []
    for step in program.steps:
        inputs, place = [read(values, x) for x in step.inputs], source.place(step)
        changes = [
            (slot.number, i, m.change) for i, m in enumerate(tried) for slot in m.slots if slot.place == place
        ]
        for number, i, change in changes:
            if change in ("left out", *SET):
                value = SET[change] if change in SET else NEUTRAL[step.name]
                instead = jnp.full_like(inputs[number], value)
                inputs[number] = jnp.where(chosen == i, instead, inputs[number])
        with_cotangent = [
            k
            for k, x in enumerate(step.inputs)
            if not isinstance(x, Constant) and x in moving and is_floating(inputs[k])
        ]
        if not with_cotangent:
            values |= dict(zip(step.outputs, step.run(inputs), strict=True))
            continue

        def of_moving(*given: Any, step: Step = step, inputs: Any = inputs, at: Any = with_cotangent) -> Any:
            replaced = dict(zip(at, given, strict=True))
            return step.run([replaced.get(k, x) for k, x in enumerate(inputs)])

        outputs, pull = jax.vjp(of_moving, *(inputs[k] for k in with_cotangent))
        values |= dict(zip(step.outputs, outputs, strict=True))
        moving |= set(step.outputs)
        way_back.append((step, inputs, outputs, pull, with_cotangent, changes))
    d_values: dict[int, Any] = {}
    _add(d_values, program.outputs, d_output)
    for step, inputs, outputs, pull, with_cotangent, changes in reversed(way_back):
        if not any(number in d_values for number in step.outputs):
            continue
        d_outputs = [_cotangent(d_values.pop(n, None), x) for n, x in zip(step.outputs, outputs, strict=True)]
        d_inputs = dict(zip(with_cotangent, pull(d_outputs), strict=True))
        for number, i, change in changes:
            if number in d_inputs:
                here = Here(step, inputs, outputs, number, d_outputs[0], d_inputs[number])
                d_inputs[number] = jnp.where(chosen == i, CHANGES[change](here), d_inputs[number])
        _add(d_values, [step.inputs[k] for k in d_inputs], list(d_inputs.values()))
    return [
        d_values.get(number, jnp.zeros_like(x))
        for number, x, flag in zip(program.inputs, leaves, floating, strict=True)
        if flag
    ]


def _add(d_values: dict[int, Any], numbers: Any, cotangents: list[Any]) -> None:
    """Add cotangents to those that are there; constants and integers have none."""
    for number, d in zip(numbers, cotangents, strict=True):
        if not isinstance(number, Constant) and d.dtype != jax.dtypes.float0:
            d_values[number] = d_values[number] + d if number in d_values else d


def _cotangent(d: Any, output: Any) -> Any:
    if not is_floating(output):
        return np.zeros(jnp.shape(output), jax.dtypes.float0)
    return jnp.zeros_like(output) if d is None else d


def _on_the_way(program: Program, floating: list[bool]) -> Iterator[Step]:
    """The steps whose inputs depend on a floating input of the program."""
    moving = {number for number, flag in zip(program.inputs, floating, strict=True) if flag}
    for step in program.steps:
        if moving & {x for x in step.inputs if not isinstance(x, Constant)}:
            moving |= set(step.outputs)
            yield step


def _in_step(step: Step) -> Iterator[Mistake]:
    given, made = ([v.aval for v in vs] for vs in (step.equation.invars, step.equation.outvars))
    if not jnp.issubdtype(made[0].dtype, jnp.floating):
        return
    where = source.expression(step)
    what = f"the {NAMES.get(step.name, step.name)}" + (f" in {where}" if where else "")
    alone = sum(not isinstance(x, Constant) for x in step.inputs) == 1
    for number, (x, aval) in enumerate(zip(step.inputs, given, strict=True)):
        slots = frozenset({Slot(source.place(step), number)})
        by = what if alone else f"{what} by its input {number + 1}"
        if isinstance(x, Constant):
            if step.name in NEUTRAL and not aval.shape and float(x.value) != NEUTRAL[step.name]:
                text = f"the constant {x.value:g} of {what} is left out"
                yield Mistake("left out", slots, "constant", text)
            continue
        if step.name == "select_n" and number == 0 and len(given) == 3:
            for change in SET:
                text = f"the mask of {what} is left out: the {change} of its two values is used everywhere"
                yield Mistake(change, slots, "constant", text)
        if not jnp.issubdtype(aval.dtype, jnp.floating):
            continue
        if step.name in REDUCTIONS:
            reduced = f"{REDUCTIONS[step.name]} over axes {tuple(step.equation.params['axes'])}"
            text = f"it takes the {reduced} of an array {aval.shape} for a constant"
            yield Mistake("constant", slots, "statistic", text + (f", in {where}" if where else ""))
        else:
            yield Mistake("constant", slots, "derivative", f"it takes {by} for a constant")
        same = aval.shape == made[0].shape
        changes = [
            *(["sign"]),
            *(["one"] if same else []),
            *(["not transposed"] if same and step.name in NOT_SYMMETRIC else []),
            *(["cotangent transposed"] if step.name == "dot_general" and _square(made[0].shape) else []),
            *(["at the output", "output's formula"] if step.name in BY_OUTPUT else []),
        ]
        for change in changes:
            yield Mistake(change, slots, "derivative", SLOPES[change].format(by))


def _square(shape: tuple[int, ...]) -> bool:
    return len(shape) > 1 and shape[-1] == shape[-2]
