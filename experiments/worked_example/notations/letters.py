"""What the four notes that go neuron by neuron share: what is given, the way forward, and the update."""

from collections.abc import Callable
from typing import NamedTuple

from experiments.worked_example.expression import HALF, LOG, SQUARE, Expression, Operation, added
from experiments.worked_example.functions import activation, softmax
from experiments.worked_example.network import BIASES, BOTH, LAYERS, WEIGHTS, Example
from experiments.worked_example.sheet import Sheet

Symbol = Callable[..., str]


class Letters(NamedTuple):
    """The LaTeX symbols of a note, for layers k and neurons i, j from 1, and how it writes its terms."""

    x: Symbol
    y: Symbol
    w: Symbol
    b: Symbol
    z: Symbol
    a: Symbol
    cost: str
    f: str
    f_out: str
    derivative: Symbol
    """Of the cost by a symbol."""
    rate: str
    arrow: str
    """Between a parameter and its new value."""
    weighted: Callable[[Expression, Expression], Expression] = lambda w, a: w * a
    """A weight and what it weighs, in the order of the notes."""
    error: Callable[[Expression, Expression], Expression] = lambda a, y: a - y
    """What the quadratic cost squares, of an output and its target."""


def give(sheet: Sheet, example: Example, letters: Letters) -> None:
    """The numbers to begin with; the inputs are the states of layer 0."""
    for j in BOTH:
        sheet.given(("a", 0, j), letters.x(j), example.inputs[j - 1])
    for i in BOTH:
        sheet.given(("y", LAYERS, i), letters.y(i), example.targets[i - 1])
    for k in BOTH:
        for i in BOTH:
            for j in BOTH:
                sheet.given(("w", k, i, j), letters.w(k, i, j), WEIGHTS[k - 1, i - 1, j - 1])
            sheet.given(("b", k, i), letters.b(k, i), BIASES[k - 1, i - 1])
    sheet.given(("rate", 0), letters.rate, example.learning_rate)


def forward(sheet: Sheet, example: Example, letters: Letters, new: str = "") -> None:
    """From the inputs to the cost; `new` is put before every name where the parameters are the new ones."""
    before = {j: sheet["a", 0, j] for j in BOTH}
    for k in BOTH:
        z = {
            i: sheet.let(
                (f"{new}z", k, i),
                letters.z(k, i),
                added([letters.weighted(sheet[f"{new}w", k, i, j], before[j]) for j in BOTH])
                + sheet[f"{new}b", k, i],
            )
            for i in BOTH
        }
        states = {i: _state(example, letters, k, i, list(z.values())) for i in BOTH}
        before = {i: sheet.let((f"{new}a", k, i), letters.a(k, i), states[i]) for i in BOTH}
    y = {i: sheet["y", LAYERS, i] for i in BOTH}
    if example.head == "quadratic":
        cost = HALF * added([Operation(SQUARE, letters.error(before[i], y[i])) for i in BOTH])
    else:
        cost = -added([y[i] * Operation(LOG, before[i]) for i in BOTH])
    sheet.let((f"{new}cost", LAYERS), letters.cost, cost)


def _state(example: Example, letters: Letters, k: int, i: int, z: list) -> Expression:
    if k < LAYERS:
        return activation(example.activation, letters.f, z[i - 1])
    if example.head == "quadratic":
        return activation("sigmoid", letters.f_out, z[i - 1])
    return softmax(letters.f_out, z, i)


def update(sheet: Sheet, letters: Letters) -> None:
    """A step of gradient descent with every weight, then with every bias."""
    names = [("w", k, i, j) for k in BOTH for i in BOTH for j in BOTH]
    names += [("b", k, i) for k in BOTH for i in BOTH]
    for name, *place in names:
        old, gradient = sheet[name, *place], sheet[f"d{name}", *place]
        step = old - sheet["rate", 0] * gradient
        sheet.let((f"new {name}", *place), old.symbol, step, relation=letters.arrow)
