"""The example in the letters of note 004, by its four equations."""

from experiments.worked_example.expression import added, multiplied
from experiments.worked_example.functions import slope
from experiments.worked_example.network import BOTH, Example
from experiments.worked_example.notations import jacobian, letters
from experiments.worked_example.notations.letters import Letters
from experiments.worked_example.sheet import Sheet

LETTERS = Letters(
    x="x_{}".format,
    y="y_{}".format,
    w="w_{{{1}{2}}}^{{[{0}]}}".format,
    b="b_{1}^{{[{0}]}}".format,
    z="z_{1}^{{[{0}]}}".format,
    a="a_{1}^{{[{0}]}}".format,
    cost="c_x",
    f="g",
    f_out="g",
    derivative=r"\partial c_x/\partial {}".format,
    rate=r"\eta",
    arrow=r"\leftarrow",
    error=lambda a, y: y - a,
)
"""The notes have no letter for the learning rate."""

ERROR = "e_{1}^{{[{0}]}}".format


def write(sheet: Sheet, example: Example) -> None:
    """All lines, from the forward pass to the cost after the update."""
    quadratic = example.head == "quadratic"
    names = LETTERS if quadratic else LETTERS._replace(f_out=r"\mathrm{softmax}")
    sheet.section(
        "Given",
        "a^{[0]} = x",
        remark="From neuron k of layer l-1 to neuron j of layer l: w_jk^[l]. The note stops before "
        "the update; the letter of the learning rate is ours.",
    )
    letters.give(sheet, example, names)
    cost = r"c_x = \tfrac{1}{2}\,\|y - a^{[L]}\|^2" if quadratic else r"c_x = -\sum_j y_j\,\log(a_j^{[L]})"
    sheet.section(
        "Forward",
        r"z_j^{[l]} = \sum_k w_{jk}^{[l]}\,a_k^{[l-1]} + b_j^{[l]}",
        r"a_j^{[l]} = g(z_j^{[l]})",
        cost,
    )
    letters.forward(sheet, example, names)

    if quadratic:
        sheet.section(
            "Equation 1: errors of the output layer",
            r"\partial c_x/\partial a_j^{[L]} = a_j^{[L]} - y_j",
            r"e_j^{[L]} = \partial c_x/\partial a_j^{[L]}\,g'(z_j^{[L]})",
        )
    else:
        sheet.section(
            "Equation 1: errors of the output layer",
            r"\partial c_x/\partial a_j^{[L]} = -y_j / a_j^{[L]}",
            r"e_j^{[L]} = \sum_k \partial c_x/\partial a_k^{[L]}\,\partial a_k^{[L]}/\partial z_j^{[L]}",
            remark="Softmax mixes, so the sum is over all outputs: the printed equation is elementwise.",
        )
    for j in BOTH:
        a, y = sheet["a", 2, j], sheet["y", 2, j]
        sheet.let(("da", 2, j), names.derivative(a.symbol), a - y if quadratic else -(y / a))
    if not quadratic:
        jacobian.softmax(sheet)
    for j in BOTH:
        if quadratic:
            error = sheet["da", 2, j] * slope("sigmoid", names.f_out, sheet["z", 2, j], sheet["a", 2, j])
        else:
            error = added([sheet["da", 2, k] * sheet["jacobian", 2, k, j] for k in BOTH])
        sheet.let(("dz", 2, j), ERROR(2, j), error)
    _gradient(sheet, 2)

    sheet.section(
        "Equation 2: errors of the hidden layer",
        r"e_j^{[l]} = \sum_k w_{kj}^{[l+1]}\,e_k^{[l+1]}\,g'(z_j^{[l]})",
    )
    for j in BOTH:
        prime = slope(example.activation, names.f, sheet["z", 1, j], sheet["a", 1, j])
        terms = [multiplied([sheet["w", 2, k, j], sheet["dz", 2, k], prime]) for k in BOTH]
        sheet.let(("dz", 1, j), ERROR(1, j), added(terms))
    _gradient(sheet, 1)

    sheet.section(
        "Update",
        r"w \leftarrow w - \eta\,\partial c_x/\partial w",
        r"b \leftarrow b - \eta\,\partial c_x/\partial b",
    )
    letters.update(sheet, names)
    sheet.section("Forward again")
    letters.forward(sheet, example, names, "new ")


def _gradient(sheet: Sheet, l: int) -> None:
    sheet.section(
        f"Equations 3 and 4: gradient of layer {l}",
        r"\partial c_x/\partial b_j^{[l]} = e_j^{[l]}",
        r"\partial c_x/\partial w_{jk}^{[l]} = a_k^{[l-1]}\,e_j^{[l]}",
    )
    for j in BOTH:
        error = sheet["dz", l, j]
        sheet.let(("db", l, j), LETTERS.derivative(LETTERS.b(l, j)), error)
        for k in BOTH:
            symbol = LETTERS.derivative(LETTERS.w(l, j, k))
            sheet.let(("dw", l, j, k), symbol, sheet["a", l - 1, k] * error)
