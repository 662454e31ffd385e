"""The derivatives of the outputs by the last pre-activations, in any letters."""

from experiments.worked_example.expression import ONE
from experiments.worked_example.functions import slope
from experiments.worked_example.network import BOTH
from experiments.worked_example.sheet import Sheet


def softmax(sheet: Sheet) -> None:
    """All four: da_k/dz_j = a_k ([k = j] - a_j)."""
    for k in BOTH:
        for j in BOTH:
            ours, theirs = sheet["a", 2, k], sheet["a", 2, j]
            symbol = rf"\partial {ours.symbol}/\partial {sheet['z', 2, j].symbol}"
            sheet.let(("jacobian", 2, k, j), symbol, ours * (ONE - theirs) if k == j else -(ours * theirs))


def elementwise(sheet: Sheet, name: str) -> None:
    """The two that are not 0, of the sigmoid, called `name`."""
    for k in BOTH:
        z, a = sheet["z", 2, k], sheet["a", 2, k]
        symbol = rf"\partial {a.symbol}/\partial {z.symbol}"
        sheet.let(("jacobian", 2, k, k), symbol, slope("sigmoid", name, z, a))
