"""A sheet of lines, each a formula, the formula with the numbers put in, and the result; and their check.

The number of digits is what makes a sheet one that can be followed: a result is shown to `DIGITS` significant
digits, all of them right, and whoever works out what is printed gets them. So a quantity that is put in shows
as many digits as that takes, mostly as many as its own result had, sometimes one or two more.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from experiments.worked_example.expression import Expression, Named, Quantity, Value

DIGITS = 6
"""Significant digits of a result."""

EXACT = 17
"""Digits that tell every float64 from the next."""

TOLERANCE = 1e-10
"""A line may be so far from autodiff, relative to the larger of 1 and the number."""

Key = tuple[str, *tuple[int, ...]]
"""What a line is of, whatever its letter: a name, a layer, the neurons from 1; of a matrix, no neurons."""


class Line(NamedTuple):
    """`symbol` `relation` `formula` = `numbers` = `value`; the symbols and formulas are LaTeX."""

    key: Key
    symbol: str
    relation: str
    formula: str
    numbers: str
    value: Value


class Section(NamedTuple):
    """A heading, the general equations in the notes' letters, a remark, and what is given or worked out."""

    title: str
    equations: tuple[str, ...]
    remark: str
    given: list[Quantity]
    lines: list[Line]


class Sheet:
    """The sections, and all quantities by their keys."""

    def __init__(self) -> None:
        self.sections: list[Section] = []
        self._quantities: dict[Key, Quantity] = {}

    def __getitem__(self, key: Key) -> Quantity:
        """A quantity that was given or worked out."""
        return self._quantities[key]

    @property
    def lines(self) -> list[Line]:
        """The lines of all sections."""
        return [line for section in self.sections for line in section.lines]

    def section(self, title: str, *equations: str, remark: str = "") -> None:
        """Begin a section."""
        self.sections.append(Section(title, equations, remark, [], []))

    def given(self, key: Key, symbol: str, value: Value) -> None:
        """A number or matrix to begin with."""
        self._quantities[key] = Quantity(symbol, value)
        self.sections[-1].given.append(self._quantities[key])

    def let(self, key: Key, symbol: str, expression: Expression, *, relation: str = "=") -> Quantity:
        """Work out a line."""
        value = expression.value(lambda amount: amount)
        inner = expression.definition if isinstance(expression, Named) else expression
        digits = _digits(expression, value)
        numbers = inner.numbers(lambda amount: shown(amount, digits))
        line = Line(key, symbol, relation, expression.letters(), numbers, value)
        self.sections[-1].lines.append(line)
        self._quantities[key] = Quantity(symbol, value)
        return self._quantities[key]


def shown(value: Value, digits: int = DIGITS) -> str:
    r"""A number to so many significant digits, or a matrix of them, as LaTeX."""
    if np.size(value) == 1:
        text = f"{np.asarray(value).item() + 0.0:.{digits}g}"  # 0 of -0
        return rf"\text{{{text}}}" if "e" in text else text
    rows = (" & ".join(shown(entry, digits) for entry in row) for row in np.asarray(value))
    return r"\begin{bmatrix}" + r" \\ ".join(rows) + r"\end{bmatrix}"


def _digits(expression: Expression, value: Value) -> int:
    """How many digits the quantities need so that they give the result to `DIGITS`."""
    for digits in range(DIGITS, EXACT):
        if shown(expression.value(lambda amount, d=digits: _rounded(amount, d))) == shown(value):
            return digits
    return EXACT


def _rounded(value: Value, digits: int) -> Value:
    rounded = np.vectorize(lambda entry: float(f"{entry:.{digits}g}"))(value)
    return rounded if isinstance(value, np.ndarray) else float(rounded)


def difference(line: Line, truth: Mapping[Key, np.ndarray]) -> float:
    """How far a line is from autodiff: the largest over the entries of a matrix."""
    name, layer, *neurons = line.key
    wanted = truth[name, layer][tuple(neuron - 1 for neuron in neurons)]
    off = np.abs(np.reshape(line.value, np.shape(wanted)) - wanted) / np.maximum(1, np.abs(wanted))
    return float(np.max(off)) if np.all(np.isfinite(off)) else float("inf")


def wrong(sheet: Sheet, truth: Mapping[Key, np.ndarray]) -> list[Line]:
    """The lines that are not what autodiff says, in their order."""
    return [line for line in sheet.lines if not difference(line, truth) <= TOLERANCE]
