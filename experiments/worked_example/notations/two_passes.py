"""The example in the letters of note 001: what feeds a weight on the way forward, dl/dz on the way back."""

from experiments.worked_example.expression import ONE, Expression, Named, added
from experiments.worked_example.functions import slope
from experiments.worked_example.network import BOTH, Example
from experiments.worked_example.notations import jacobian, letters
from experiments.worked_example.notations.letters import Letters
from experiments.worked_example.sheet import Sheet


def w(k: int, i: int, j: int) -> str:
    """The weights of theta are numbered through, layer by layer and neuron by neuron."""
    return f"w_{4 * (k - 1) + 2 * (i - 1) + j}"


def b(k: int, i: int) -> str:
    """So are the biases, and with them the neurons."""
    return f"b_{2 * (k - 1) + i}"


def z(k: int, i: int) -> str:
    """A neuron's input."""
    return f"z_{2 * (k - 1) + i}"


LETTERS = Letters(
    x="x_{}".format,
    y="t_{}".format,
    w=w,
    b=b,
    z=z,
    a=lambda k, i: f"a_{i}" if k == 1 else f"y_{i}",
    cost="l",
    f=r"\sigma",
    f_out=r"\sigma",
    derivative=r"\partial l/\partial {}".format,
    rate=r"\eta",
    arrow=":=",
    weighted=lambda w, a: a * w,
)


def write(sheet: Sheet, example: Example) -> None:
    """All lines, from the forward pass to the loss after the update."""
    quadratic = example.head == "quadratic"
    names = LETTERS if quadratic else LETTERS._replace(f_out=r"\mathrm{softmax}")
    sheet.section(
        "Given",
        r"\theta = \{w_1, w_2, \ldots, b_1, b_2, \ldots\}",
        remark="The parameters are numbered through: w_1, w_2 and b_1 are those of the first neuron. The "
        "outputs are y; their targets have no letter in the note, t is ours. One example, so L = l.",
    )
    letters.give(sheet, example, names)
    sheet.section("Forward", r"z_1 = x_1\,w_1 + x_2\,w_2 + b_1", r"a_1 = \sigma(z_1)")
    letters.forward(sheet, example, names)

    sheet.section(
        "Backward pass: the output layer",
        r"\partial l/\partial z_j = \sum_k \partial y_k/\partial z_j\,\partial l/\partial y_k",
        remark="The sigmoid is elementwise: one term is left."
        if quadratic
        else "Softmax mixes, so the sum is over both outputs: the printed rule is elementwise.",
    )
    for k in BOTH:
        y, t = sheet["a", 2, k], sheet["y", 2, k]
        sheet.let(("da", 2, k), names.derivative(y.symbol), y - t if quadratic else -(t / y))
    if quadratic:
        jacobian.elementwise(sheet, names.f_out)
    else:
        jacobian.softmax(sheet)
    for j in BOTH:
        through = [j] if quadratic else BOTH
        terms = [sheet["jacobian", 2, k, j] * sheet["da", 2, k] for k in through]
        sheet.let(("dz", 2, j), names.derivative(z(2, j)), added(terms))

    sheet.section(
        "Backward pass: the hidden layer",
        r"\partial l/\partial a = \partial z_3/\partial a\,\partial l/\partial z_3 "
        r"+ \partial z_4/\partial a\,\partial l/\partial z_4",
        r"\partial l/\partial z = \sigma'(z)\,\partial l/\partial a",
    )
    for i in BOTH:
        a = sheet["a", 1, i]
        fed = [_by(z(2, k), a.symbol, sheet["w", 2, k, i]) * sheet["dz", 2, k] for k in BOTH]
        sheet.let(("da", 1, i), names.derivative(a.symbol), added(fed))
    for i in BOTH:
        prime = slope(example.activation, names.f, sheet["z", 1, i], sheet["a", 1, i])
        sheet.let(("dz", 1, i), names.derivative(z(1, i)), prime * sheet["da", 1, i])

    sheet.section(
        "Forward pass times backward pass: the gradient",
        r"\partial l/\partial w = \partial z/\partial w\,\partial l/\partial z",
        remark="∂z/∂w is the value that feeds the weight; ∂z/∂b, which is not printed, is 1.",
    )
    for k in BOTH:
        for i in BOTH:
            delta = sheet["dz", k, i]
            for j in BOTH:
                feeds = _by(z(k, i), w(k, i, j), sheet["a", k - 1, j])
                sheet.let(("dw", k, i, j), names.derivative(w(k, i, j)), feeds * delta)
            one = _by(z(k, i), b(k, i), ONE)
            sheet.let(("db", k, i), names.derivative(b(k, i)), one * delta)

    sheet.section("Update", r"\theta_1 := \theta_0 - \eta\,\nabla L(\theta_0)")
    letters.update(sheet, names)
    sheet.section("Forward again")
    letters.forward(sheet, example, names, "new ")


def _by(above: str, below: str, value: Expression) -> Named:
    return Named(rf"\partial {above}/\partial {below}", value)
