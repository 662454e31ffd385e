"""The functions of the network as named definitions, and the derivatives by which a backward pass goes on."""

from collections.abc import Sequence

from experiments.worked_example.expression import (
    EXP,
    ONE,
    TANH,
    Expression,
    Named,
    Operation,
    Quantity,
    added,
)


def activation(kind: str, name: str, z: Expression) -> Expression:
    """The hidden layer's function, called `name`."""
    body = Operation(TANH, z) if kind == "tanh" else ONE / (ONE + Operation(EXP, -z))
    return Named(f"{name}({z.letters()})", body)


def slope(kind: str, name: str, z: Expression, a: Expression) -> Expression:
    """Its derivative at z, by its value a there."""
    return Named(f"{name}'({z.letters()})", ONE - a * a if kind == "tanh" else a * (ONE - a))


def softmax(name: str, z: Sequence[Quantity], i: int) -> Expression:
    """Entry i, counted from 1, of the softmax."""
    powers = [Operation(EXP, entry) for entry in z]
    arguments = ", ".join(entry.letters() for entry in z)
    return Named(f"{name}({arguments})_{i}", powers[i - 1] / added(powers))
