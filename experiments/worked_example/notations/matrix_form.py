"""The example in the letters of note 000: whole matrices and columns, W (n_out, n_in)."""

import numpy as np

from experiments.worked_example.expression import (
    EXP,
    HALF,
    LOG,
    SQUARED_NORM,
    SUM,
    Expression,
    Named,
    Operation,
    Quantity,
)
from experiments.worked_example.functions import activation, slope
from experiments.worked_example.network import BIASES, BOTH, WEIGHTS, Example
from experiments.worked_example.sheet import Sheet


def write(sheet: Sheet, example: Example) -> None:
    """All lines, from the forward pass to the loss after the update."""
    quadratic = example.head == "quadratic"
    sheet.section(
        "Given",
        remark="Matrices are written row by row; x, t and b are columns. The equations of the note have "
        "no bias, its text adds one. Its output is z in E and x_3 in the network, here x_2 in both. It ends "
        "with ∂E/∂W_3: δ is the usual letter for what goes on from there.",
    )
    sheet.given(("a", 0), "x_0", _column(example.inputs))
    sheet.given(("y", 2), "t", _column(example.targets))
    for k in BOTH:
        sheet.given(("w", k), f"W_{k}", WEIGHTS[k - 1])
        sheet.given(("b", k), f"b_{k}", _column(BIASES[k - 1]))
    sheet.given(("rate", 0), r"\alpha", example.learning_rate)
    cost = r"E = \tfrac{1}{2}\,\|x_2 - t\|^2" if quadratic else r"E = -t^T\,\log(x_2)"
    sheet.section("Forward", r"x_k = f_k(W_k\,x_{k-1} + b_k)", cost)
    _forward(sheet, example)

    a, t = sheet["a", 2], sheet["y", 2]
    sheet.section(
        "Backward: the output layer",
        r"\partial E/\partial W_2 = (x_2 - t)\,\partial x_2/\partial W_2",
        remark="As it stands this is no product of matrices. It is δ_2 x_1^T, where δ_2 is x_2 - t "
        + ("times f_2', entry by entry." if quadratic else "with softmax and the cross-entropy."),
    )
    if quadratic:
        prime = slope("sigmoid", "f_2", sheet["z", 2], a)
        sheet.let(("dz", 2), r"\delta_2", (a - t) * prime)
    else:
        sheet.let(("dz", 2), r"\delta_2", a - t)
    _gradient(sheet, 2)

    sheet.section("Backward: the hidden layer", r"\delta_1 = (W_2^T\,\delta_2) \odot f_1'(W_1\,x_0 + b_1)")
    prime = slope(example.activation, "f_1", sheet["z", 1], sheet["a", 1])
    sheet.let(("dz", 1), r"\delta_1", (sheet["w", 2].T @ sheet["dz", 2]) * prime)
    _gradient(sheet, 1)

    sheet.section(
        "Update",
        r"w = w - \alpha_w\,\partial E/\partial w",
        remark="Every weight may have a rate of its own; here all have the same.",
    )
    for k in BOTH:
        for name in ("w", "b"):
            old = sheet[name, k]
            step = old - sheet["rate", 0] * sheet[f"d{name}", k]
            sheet.let((f"new {name}", k), old.symbol, step, relation=r"\leftarrow")
    sheet.section("Forward again")
    _forward(sheet, example, "new ")


def _forward(sheet: Sheet, example: Example, new: str = "") -> None:
    before = sheet["a", 0]
    for k in BOTH:
        W, b = sheet[f"{new}w", k], sheet[f"{new}b", k]
        z = sheet.let((f"{new}z", k), rf"W_{k}\,{before.symbol} + b_{k}", W @ before + b)
        before = sheet.let((f"{new}a", k), f"x_{k}", _states(example, k, z))
    t = sheet["y", 2]
    if example.head == "quadratic":
        cost: Expression = HALF * Operation(SQUARED_NORM, before - t)
    else:
        cost = -(t.T @ Operation(LOG, before))
    sheet.let((f"{new}cost", 2), "E", cost)


def _states(example: Example, k: int, z: Quantity) -> Expression:
    if k == 1 or example.head == "quadratic":
        return activation(example.activation if k == 1 else "sigmoid", f"f_{k}", z)
    powers = Operation(EXP, z)
    return Named(f"f_2({z.symbol})", powers / Operation(SUM, powers))


def _gradient(sheet: Sheet, k: int) -> None:
    delta, before = sheet["dz", k], sheet["a", k - 1]
    sheet.let(("dw", k), rf"\partial E/\partial W_{k}", delta @ before.T)
    sheet.let(("db", k), rf"\partial E/\partial b_{k}", delta)


def _column(numbers) -> np.ndarray:
    return np.reshape(numbers, (-1, 1))
