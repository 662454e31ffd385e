"""The table of mistakes in the derivative of a single primitive.

A row of `TABLE` says what the cotangent of a step's input is instead of the right one, or what the input
itself is instead.
"""

import functools
from collections.abc import Callable
from itertools import combinations
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax_ref.verify.diagnosis.primitives import Primitive, primitive
from jax_ref.verify.program.steps import Constant, Step
from jax_ref.verify.trees import is_floating

Parts = tuple[int, ...]
"""The numbers of the outputs of a step that are exchanged, or that of an axis."""

MOST_PARTS = 4
"""The most parts of an array that are exchanged."""


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
    def is_constant(self) -> bool:
        """Whether it is written in the program."""
        return isinstance(self.step.inputs[self.number], Constant)

    @property
    def constant(self) -> Any:
        """Its value, if that is written in the program."""
        x = self.step.inputs[self.number]
        return x.value if isinstance(x, Constant) else None

    @property
    def differentiable(self) -> bool:
        """Whether it may have a cotangent."""
        return not self.is_constant and is_floating(self.aval)

    @property
    def elementwise(self) -> bool:
        """Whether it has the shape of the only output."""
        return self.differentiable and len(self.made) == 1 and self.aval.shape == self.made[0].shape

    @property
    def is_reduced(self) -> bool:
        """Whether the step is a reduction of it, over axes or by index."""
        return bool(self.primitive.reduces) and self.number == self.primitive.reduced

    @property
    def is_mask(self) -> bool:
        """Whether it chooses between two values."""
        chooses = self.step.name == "select_n" and self.number == 0 and len(self.step.inputs) == 3
        return chooses and not self.is_constant


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

    `fits` lists the parts of the step that it can be made with: nothing where it does not fit, one entry
    where it does, which is empty but for exchanges. Of the last two fields one is given: the cotangent of the
    operand, or the value of the operand, that is taken instead of the right one.
    """

    name: str
    kind: str
    text: str
    fits: Callable[[Operand], list[Parts]]
    cotangent: Callable[..., Any] | None = None
    value: Callable[[Step], float | None] | None = None


def _if(condition: Callable[[Operand], bool]) -> Callable[[Operand], list[Parts]]:
    """Fits where a condition holds, without parts."""
    return lambda at: [()] if condition(at) else []


def _pairs(at: Operand) -> list[Parts]:
    """The pairs of parts that an array is split into, if all are of one shape."""
    alike = at.step.name == "split" and len({v.shape for v in at.made}) == 1
    few = alike and at.differentiable and len(at.made) <= MOST_PARTS
    return list(combinations(range(len(at.made)), 2)) if few else []


def _exchanged(back: Pullback, one: int, other: int) -> Any:
    d_outputs = list(back.d_outputs)
    d_outputs[one], d_outputs[other] = d_outputs[other], d_outputs[one]
    return back.pulled(back.x, d_outputs)


def _overwritten(back: Pullback) -> Any:
    """What stays if the share of each entry of the output is written, not added, one after the other."""
    size, count = back.x.size, back.d_output.size
    numbers = jnp.arange(size, dtype=back.x.dtype).reshape(back.x.shape)
    (source,) = back.of_input(numbers)  # NaN where an index is out of range
    source = jnp.where(jnp.isnan(source), size, source).astype(jnp.int32).ravel()
    last = jnp.full(size, -1).at[source].max(jnp.arange(count), mode="drop")
    written = jnp.where(last >= 0, back.d_output.ravel()[last], 0).reshape(back.x.shape)
    reached = back.pulled(back.x, [jnp.ones_like(back.d_output)]) > 0  # not so where an index was clipped
    return jnp.where(reached, written, 0)


def _other_axes(at: Operand) -> list[Parts]:
    """The axes along which a running sum is not taken."""
    if at.step.name != "cumsum" or not at.differentiable:
        return []
    return [(a,) for a in range(len(at.aval.shape)) if a != at.step.equation.params["axis"]]


def _summed_along(back: Pullback, axis: int) -> Any:
    """The cotangent of a running sum along another axis."""
    params = back.step.equation.params | {"axis": axis}
    return jax.vjp(lambda x: back.step.equation.primitive.bind(x, **params), back.x)[1](back.d_output)[0]


def _shared(back: Pullback) -> Any:
    """The cotangent of a mean in place of a maximum: all entries of a window, or of a row, have a share."""
    params = back.step.equation.params
    if "window_dimensions" in params:
        total = functools.partial(
            jax.lax.reduce_window, init_value=np.zeros((), back.x.dtype), computation=jax.lax.add, **{
                name: params[name] for name in
                ("window_dimensions", "window_strides", "padding", "base_dilation", "window_dilation")
            },
        )  # fmt: skip
    else:
        total = functools.partial(jnp.sum, axis=params["axes"])
    _, vjp = jax.vjp(total, back.x)
    return vjp(back.d_output / total(jnp.ones_like(back.x)))[0]


def _without_stride(back: Pullback) -> Any:
    """The cotangent of a convolution of stride one, whose output's is that of the first entries alone."""
    params = back.step.equation.params
    ones = params | {"window_strides": (1,) * len(params["window_strides"])}

    def of_input(x: Any) -> Any:
        inputs = [*back.inputs[: back.number], x, *back.inputs[back.number + 1 :]]
        return back.step.equation.primitive.bind(*inputs, **ones)

    y, vjp = jax.vjp(of_input, back.x)
    return vjp(jnp.zeros_like(y).at[tuple(map(slice, back.d_output.shape))].set(back.d_output))[0]


def _with_ones(back: Pullback) -> Any:
    """The cotangent of a factor of a matrix product whose other factor is left out."""
    factors = [x if k == back.number else jnp.ones_like(x) for k, x in enumerate(back.inputs)]
    return back._replace(inputs=factors).pulled(back.x, back.d_outputs)


def _is_strided(at: Operand) -> bool:
    is_one = at.step.name == "conv_general_dilated" and at.differentiable
    return is_one and any(n > 1 for n in at.step.equation.params["window_strides"])


def _square(shape: tuple[int, ...]) -> bool:
    return len(shape) > 1 and shape[-1] == shape[-2]


TABLE = (
    Row(
        "statistic", "statistic", "it takes {reduction} for a constant{where}",
        _if(lambda at: at.differentiable and at.is_reduced),
        cotangent=lambda back: jnp.zeros_like(back.d_input),
    ),
    Row(
        "constant", "derivative", "the derivative of {by} is left out",
        _if(lambda at: at.differentiable and not at.is_reduced),
        cotangent=lambda back: jnp.zeros_like(back.d_input),
    ),
    Row(
        "one", "derivative", "the derivative of {by} is taken for one",
        _if(lambda at: at.elementwise),
        cotangent=lambda back: back.d_output,
    ),
    Row(
        "ones", "derivative", "the derivative of {by} has ones for the other factor",
        _if(lambda at: at.differentiable and at.step.name == "dot_general"),
        cotangent=_with_ones,
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
        "along another axis", "derivative", "the derivative of {by} is that along axis {axis}",
        _other_axes,
        cotangent=_summed_along,
    ),
    Row(
        "mean for maximum", "derivative", "the derivative of {by} is that of a mean",
        _if(lambda at: at.differentiable and at.step.name in ("reduce_max", "reduce_window_max")),
        cotangent=_shared,
    ),
    Row(
        "stride", "derivative", "the derivative of {by} is that for a stride of one",
        _if(_is_strided),
        cotangent=_without_stride,
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
        "one minus output", "derivative", "the slope of {by} is taken for 1 - y, where y is its output",
        _if(lambda at: at.differentiable and at.step.name in ("tanh", "logistic")),
        cotangent=lambda back: back.d_output * (1 - back.outputs[0]),
    ),
    Row(
        "output", "derivative", "the slope of {by} is taken for y, its output",
        _if(lambda at: at.elementwise and at.step.name in ("logistic", "sin", "cos", "sqrt", "log")),
        cotangent=lambda back: back.d_output * back.outputs[0],
    ),
    Row(
        "overwritten", "conditional",
        "repeated indices are overwritten, not added to: only the last share stays of what goes through {by}",
        _if(lambda at: at.differentiable and at.step.name == "gather" and at.number == 0),
        cotangent=lambda back: _overwritten(back),
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
