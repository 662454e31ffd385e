"""The example in the letters of note 002, in its index form."""

from experiments.worked_example.expression import added
from experiments.worked_example.functions import slope
from experiments.worked_example.network import BOTH, Example
from experiments.worked_example.notations import letters
from experiments.worked_example.notations.letters import Letters
from experiments.worked_example.sheet import Sheet

LETTERS = Letters(
    x="x_{}".format,
    y="y_{}".format,
    w="w_{{{1}{2}}}^{{({0})}}".format,
    b="b_{1}^{{({0})}}".format,
    z="z_{1}^{{({0})}}".format,
    a="a_{1}^{{({0})}}".format,
    cost="L",
    f=r"\sigma",
    f_out=r"\sigma",
    derivative=r"\partial L/\partial {}".format,
    rate=r"\eta",
    arrow=r"\leftarrow",
)

DELTA = r"\delta_{1}^{{({0})}}".format


def write(sheet: Sheet, example: Example) -> None:
    """All lines, from the forward pass to the loss after the update."""
    names = LETTERS._replace(f_out=r"\mathrm{softmax}") if example.head == "cross_entropy" else LETTERS
    sheet.section(
        "Given", r"a^{(0)} = x", remark="From neuron l of layer k-1 to neuron i of layer k: w_il^(k)."
    )
    letters.give(sheet, example, names)
    sheet.section(
        "Forward",
        r"z_i^{(k)} = \sum_l w_{il}^{(k)}\,a_l^{(k-1)} + b_i^{(k)}",
        r"a_i^{(k)} = \sigma(z_i^{(k)})",
    )
    letters.forward(sheet, example, names)

    if example.head == "quadratic":
        sheet.section(
            "Backward: deltas of the output layer", r"\delta^{(L)} = (a^{(L)} - y) \odot \sigma'(z^{(L)})"
        )
    else:
        sheet.section("Backward: deltas of the output layer", r"\delta^{(L)} = a^{(L)} - y")
    for i in BOTH:
        z, a = sheet["z", 2, i], sheet["a", 2, i]
        delta = a - sheet["y", 2, i]
        if example.head == "quadratic":
            delta = delta * slope("sigmoid", names.f_out, z, a)
        sheet.let(("dz", 2, i), DELTA(2, i), delta)
    sheet.section("Backward: gradient of layer 2", *GRADIENT)
    _gradient(sheet, 2)

    sheet.section(
        "Backward: deltas of the hidden layer",
        r"\delta_i^{(k)} = \sigma'(z_i^{(k)})\,\sum_j \delta_j^{(k+1)}\,w_{ji}^{(k+1)}",
    )
    for i in BOTH:
        onwards = added([sheet["dz", 2, j] * sheet["w", 2, j, i] for j in BOTH])
        prime = slope(example.activation, names.f, sheet["z", 1, i], sheet["a", 1, i])
        sheet.let(("dz", 1, i), DELTA(1, i), prime * onwards)
    sheet.section("Backward: gradient of layer 1", *GRADIENT)
    _gradient(sheet, 1)

    sheet.section("Update, when all deltas are there", *UPDATE)
    letters.update(sheet, names)
    sheet.section("Forward again")
    letters.forward(sheet, example, names, "new ")


GRADIENT = (
    r"\partial L/\partial w_{il}^{(k)} = \delta_i^{(k)}\,a_l^{(k-1)}",
    r"\partial L/\partial b_i^{(k)} = \delta_i^{(k)}",
)
UPDATE = (
    r"W^{(k)} \leftarrow W^{(k)} - \eta\,\partial L/\partial W^{(k)}",
    r"b^{(k)} \leftarrow b^{(k)} - \eta\,\partial L/\partial b^{(k)}",
)


def _gradient(sheet: Sheet, k: int) -> None:
    for i in BOTH:
        delta = sheet["dz", k, i]
        for l in BOTH:
            symbol = LETTERS.derivative(LETTERS.w(k, i, l))
            sheet.let(("dw", k, i, l), symbol, delta * sheet["a", k - 1, l])
        sheet.let(("db", k, i), LETTERS.derivative(LETTERS.b(k, i)), delta)
