"""What is told of a mistake."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Array

from manual_bp.textbook import four_equations
from manual_bp.textbook.columns import Network
from manual_bp.textbook.errata.steps import Gradient


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


class WrongFunction(NamedTuple):
    """A function as it is printed, and the right one with the same arguments."""

    source: str
    printed: str
    right: str
    off: str
    wrong: Callable[..., Any]
    correct: Callable[..., Any]
