"""What is told of an error: what is printed, what is right, how far off that is, and where it is printed."""

import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Array

from manual_bp.textbook import four_equations
from manual_bp.textbook.columns import Network
from manual_bp.textbook.errata.steps import Gradient

WIDTH = 78
"""Of what is told, so that it can be set in by two."""


class Mistake(NamedTuple):
    """A wrong gradient of a network's mean cost, in columns; `targets` makes targets at which it shows."""

    source: str
    printed: str
    right: str
    off: str
    gradient: Gradient
    output: str = "sigmoid"
    cost: str = "quadratic"
    targets: Callable[[Array], Array] = lambda Y: Y

    def correct(self, layers: Network, X: Array, Y: Array) -> Network:
        """The right gradient of the same cost."""
        return four_equations.mean_gradient(layers, X, Y, output=self.output, cost=self.cost)

    def __str__(self) -> str:
        """What is printed, right, off and where."""
        return _told(self)

    def __repr__(self) -> str:
        """The same in a line."""
        return _in_a_line(self)


class WrongFunction(NamedTuple):
    """A function as it is printed, and the right one with the same arguments."""

    source: str
    printed: str
    right: str
    off: str
    wrong: Callable[..., Any]
    correct: Callable[..., Any]

    def __str__(self) -> str:
        """What is printed, right, off and where."""
        return _told(self)

    def __repr__(self) -> str:
        """The same in a line."""
        return _in_a_line(self)


class Remark(NamedTuple):
    """An error that makes no program wrong."""

    source: str
    printed: str
    right: str
    off: str

    def __str__(self) -> str:
        """What is printed, right, off and where."""
        return _told(self)


Erratum = Mistake | WrongFunction | Remark


def _told(erratum: Erratum) -> str:
    said = {
        "printed": erratum.printed,
        "right": erratum.right,
        "off by": erratum.off,
        "where": erratum.source,
    }
    return "\n".join(
        textwrap.fill(text, WIDTH, initial_indent=f"{name:<9}", subsequent_indent=" " * 9)
        for name, text in said.items()
    )


def _in_a_line(erratum: Erratum) -> str:
    said = zip(erratum._fields[:4], erratum[:4], strict=True)
    return f"{type(erratum).__name__}({', '.join(f'{name}={text!r}' for name, text in said)})"
