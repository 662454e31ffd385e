"""What the layers' sheets share: what is given, the quadratic loss, and the update."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.worked_example.expression import HALF, SQUARE, Operation, Quantity, added
from experiments.worked_example.sheet import Sheet

Symbols = Mapping[str, Callable[..., str]]
"""How a name's entry at some places, counted from 1, is written."""


def places(numbers: Any) -> Iterator[tuple[int, ...]]:
    """Those of all entries, from 1; of a single number, no place."""
    for index in np.ndindex(np.shape(numbers)):
        yield tuple(n + 1 for n in index)


def give(sheet: Sheet, given: Mapping[str, Any], symbols: Symbols, rate: float) -> None:
    """The numbers to begin with."""
    for name, numbers in given.items():
        for place in places(numbers):
            value = float(np.asarray(numbers)[tuple(n - 1 for n in place)])
            sheet.given((name, 1, *place), symbols[name](*place), value)
    sheet.given(("rate", 0), r"\eta", rate)


def loss(sheet: Sheet, outputs: Sequence[Quantity], targets: Sequence[Quantity], new: str = "") -> None:
    """Half the sum of the squared errors."""
    squares = [Operation(SQUARE, a - y) for a, y in zip(outputs, targets, strict=True)]
    sheet.let((f"{new}cost", 1), "L", HALF * added(squares))


def derivative(symbol: str) -> str:
    """Of the loss by what has that symbol."""
    return rf"\partial L/\partial {symbol}"


def update(sheet: Sheet, given: Mapping[str, Any], trained: Sequence[str]) -> None:
    """A step of gradient descent with every parameter."""
    sheet.section("Update, when all derivatives are there", r"w \leftarrow w - \eta\,\partial L/\partial w")
    for name in trained:
        for place in places(given[name]):
            old = sheet[name, 1, *place]
            step = old - sheet["rate", 0] * sheet[f"d{name}", 1, *place]
            sheet.let((f"new {name}", 1, *place), old.symbol, step, relation=r"\leftarrow")
