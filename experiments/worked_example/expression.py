r"""Formulas over named numbers: in their letters, with the numbers put in, and worked out.

An expression is built with Python's operators, as `w * x + b`, from quantities: a LaTeX symbol, and a value
that is a number or a matrix (a column is a matrix). One tree gives all three, so that they cannot disagree:

    letters()            w_{11}\,x_1 + b_1                                              (1)
    numbers(shown)       0.2 \cdot 1 + 0.1, each value written by `shown`               (2)
    value(rounded)       what (2) comes to, from each value as `rounded` makes it       (3)

`Named` has a name in (1), as s(z), and its definition in (2) and (3), as 1 / (1 + exp(-z)).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import numpy as np

Value = float | np.ndarray
Show = Callable[[Value], str]
Round = Callable[[Value], Value]


class Expression:
    """A formula. `loose` is one that needs brackets as a factor."""

    loose = False

    def letters(self) -> str:
        """(1)."""
        raise NotImplementedError

    def numbers(self, shown: Show) -> str:
        """(2)."""
        raise NotImplementedError

    def value(self, rounded: Round) -> Value:
        """(3)."""
        raise NotImplementedError

    def __add__(self, other: "Expression") -> "Operation":
        return Operation(ADD, self, other)

    def __sub__(self, other: "Expression") -> "Operation":
        return Operation(SUBTRACT, self, other)

    def __neg__(self) -> "Operation":
        return Operation(NEGATE, self)

    def __mul__(self, other: "Expression") -> "Operation":
        both = all(np.ndim(side.value(lambda amount: amount)) for side in (self, other))
        return Operation(ENTRY_BY_ENTRY if both else MULTIPLY, self, other)

    def __matmul__(self, other: "Expression") -> "Operation":
        return Operation(MATRIX_MULTIPLY, self, other)

    def __truediv__(self, other: "Expression") -> "Operation":
        return Operation(DIVIDE, self, other)


@dataclass(frozen=True, eq=False)
class Quantity(Expression):
    """A number or matrix with a symbol."""

    symbol: str
    amount: Value

    def letters(self) -> str:
        """(1)."""
        return self.symbol

    def numbers(self, shown: Show) -> str:
        """(2)."""
        return shown(self.amount)

    def value(self, rounded: Round) -> Value:
        """(3)."""
        return rounded(self.amount)

    @property
    def T(self) -> "Quantity":  # noqa: N802
        """The transpose of a matrix."""
        return Quantity(f"{self.symbol}^T", np.transpose(self.amount))


@dataclass(frozen=True, eq=False)
class Exact(Expression):
    """A number that is a part of the formula."""

    text: str
    amount: float

    def letters(self) -> str:
        """(1)."""
        return self.text

    def numbers(self, shown: Show) -> str:
        """(2)."""
        return self.text

    def value(self, rounded: Round) -> Value:
        """(3)."""
        return self.amount


@dataclass(frozen=True, eq=False)
class Named(Expression):
    """A definition with a name."""

    name: str
    definition: Expression

    def letters(self) -> str:
        """(1)."""
        return self.name

    def numbers(self, shown: Show) -> str:
        """(2)."""
        return _bracketed(self.definition.loose, self.definition.numbers(shown))

    def value(self, rounded: Round) -> Value:
        """(3)."""
        return self.definition.value(rounded)


class Kind(NamedTuple):
    """An operation: LaTeX with places for its arguments in (1) and (2), and what it does."""

    letters: str
    numbers: str
    function: Callable[..., Value]
    brackets: tuple[str, ...]
    """Around each argument: "factor" if it is a sum or negative, "term" if it is negative, or "none"."""
    loose: bool = False


class Operation(Expression):
    """What an operation makes of its arguments."""

    def __init__(self, kind: Kind, *arguments: Expression) -> None:
        self._kind, self._arguments, self.loose = kind, arguments, kind.loose

    def letters(self) -> str:
        """(1)."""
        return self._written(self._kind.letters, [argument.letters() for argument in self._arguments])

    def numbers(self, shown: Show) -> str:
        """(2)."""
        return self._written(self._kind.numbers, [argument.numbers(shown) for argument in self._arguments])

    def value(self, rounded: Round) -> Value:
        """(3)."""
        return self._kind.function(*(argument.value(rounded) for argument in self._arguments))

    def _written(self, latex: str, arguments: Iterable[str]) -> str:
        parts = []
        for brackets, of, text in zip(self._kind.brackets, self._arguments, arguments, strict=True):
            needed = brackets != "none" and (text.startswith("-") or (brackets == "factor" and of.loose))
            parts.append(_bracketed(needed, text))
        return latex.format(*parts)


def _bracketed(needed: bool, text: str) -> str:
    return f"({text})" if needed else text


ADD = Kind("{} + {}", "{} + {}", np.add, ("none", "term"), loose=True)
SUBTRACT = Kind("{} - {}", "{} - {}", np.subtract, ("none", "factor"), loose=True)
NEGATE = Kind("-{}", "-{}", np.negative, ("factor",))
MULTIPLY = Kind(r"{}\,{}", r"{} \cdot {}", np.multiply, ("factor", "factor"))
ENTRY_BY_ENTRY = Kind(r"{} \odot {}", r"{} \odot {}", np.multiply, ("factor", "factor"))
MATRIX_MULTIPLY = Kind(r"{}\,{}", r"{}\,{}", np.matmul, ("factor", "factor"), loose=True)
DIVIDE = Kind("{} / {}", "{} / {}", np.divide, ("factor", "factor"), loose=True)
SQUARE = Kind("({})^2", "({})^2", np.square, ("none",))
CUBE = Kind("({})^3", "({})^3", lambda x: x**3, ("none",))
INVERSE_ROOT = Kind("({})^{{-1/2}}", "({})^{{-1/2}}", lambda x: x**-0.5, ("none",))
INNER = Kind(
    r"{}\,{}", r"{}\,{}", lambda row, column: (row @ column).item(), ("factor", "factor"), loose=True
)
SQUARED_NORM = Kind(r"\|{}\|^2", r"\|{}\|^2", lambda column: np.sum(np.square(column)), ("none",))
EXP, LOG, TANH, SUM = (
    Kind(f"{name}({{}})", f"{name}({{}})", function, ("none",))
    for name, function in (
        (r"\exp", np.exp),
        (r"\log", np.log),
        (r"\tanh", np.tanh),
        (r"\text{{sum}}", np.sum),
    )
)

ONE, HALF = Exact("1", 1.0), Exact(r"\tfrac{1}{2}", 0.5)


def added(terms: Iterable[Expression]) -> Expression:
    """The sum of one term or more."""
    return reduce(lambda left, right: left + right, terms)


def multiplied(factors: Iterable[Expression]) -> Expression:
    """The product of one factor or more."""
    return reduce(lambda left, right: left * right, factors)
