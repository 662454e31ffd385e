"""Properties of JAX's primitives by which the usual mistakes in their derivatives are told."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Primitive(NamedTuple):
    """What the table needs to know of a primitive: its usual name where JAX has another, and properties."""

    called: str = ""
    reduces: str = ""
    """What a reduction gives, in words."""
    reduced: int = 0
    """The number of the input that a reduction is of."""
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
    "scatter-add": Primitive(reduces="sum", reduced=2),
    "scatter-max": Primitive(reduces="maximum", reduced=2),
    "scatter-min": Primitive(reduces="minimum", reduced=2),
}


def primitive(name: str) -> Primitive:
    """What is known of a primitive; for most, nothing."""
    return PRIMITIVES.get(name, Primitive())


def called(name: str) -> str:
    """What a primitive is called in a report."""
    return primitive(name).called or name
