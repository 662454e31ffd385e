"""The example in the letters of note 003: a derivative is the sum over all paths, of products along each."""

from collections.abc import Iterable

from experiments.worked_example.expression import Expression, Named, added, multiplied
from experiments.worked_example.functions import slope
from experiments.worked_example.network import BOTH, Example
from experiments.worked_example.notations import jacobian, letters
from experiments.worked_example.notations.letters import Letters
from experiments.worked_example.sheet import Sheet

LETTERS = Letters(
    x="x_{}".format,
    y="y_{}".format,
    w="W_{{{}{}{}}}".format,
    b="b_{{{}{}}}".format,
    z="a_{{{}{}}}".format,
    a=lambda k, i: f"h_{{{k}{i}}}" if k == 1 else rf"\hat{{y}}_{i}",
    cost=r"\mathcal{L}",
    f="g",
    f_out="O",
    derivative=r"\partial \mathcal{{L}}/\partial {}".format,
    rate=r"\eta",
    arrow=r"\leftarrow",
)


def write(sheet: Sheet, example: Example) -> None:
    """All lines, from the forward pass to the loss after the update."""
    mixes = example.head == "cross_entropy"
    sheet.section(
        "Given",
        "h_0 = x",
        remark="From neuron j of layer l-1 to neuron i of layer l: W_lij. Here a is before and h after the "
        "activation.",
    )
    letters.give(sheet, example, LETTERS)
    sheet.section("Forward", r"a_l = W_l\,h_{l-1} + b_l", "h_1 = g(a_1)", r"\hat{y} = O(a_2)")
    letters.forward(sheet, example, LETTERS)

    sheet.section(
        "Factors of the paths",
        remark="The others are weights, ∂a_2i/∂h_1j = W_2ij, and what feeds one, ∂a_li/∂W_lij = h_(l-1)j.",
    )
    for o in BOTH:
        yhat, y = sheet["a", 2, o], sheet["y", 2, o]
        sheet.let(("da", 2, o), LETTERS.derivative(yhat.symbol), -(y / yhat) if mixes else yhat - y)
    if mixes:
        jacobian.softmax(sheet)
    else:
        jacobian.elementwise(sheet, LETTERS.f_out)
    for i in BOTH:
        a, h = sheet["z", 1, i], sheet["a", 1, i]
        sheet.let(("slope", 1, i), _by(h.symbol, a.symbol), slope(example.activation, LETTERS.f, a, h))

    sheet.section(
        "Backward: paths from layer 2",
        r"\partial \mathcal{L}/\partial W_{2ij} = \sum_o \partial \mathcal{L}/\partial \hat{y}_o\,"
        r"\partial \hat{y}_o/\partial a_{2i}\,\partial a_{2i}/\partial W_{2ij}",
        remark="The note prints one path. Softmax mixes, so there are two, over both outputs o."
        if mixes
        else "O is elementwise: one path, o = i.",
    )
    for i in BOTH:
        _gradient(sheet, 2, i, [_to_output(sheet, o, i) for o in (BOTH if mixes else [i])])
    sheet.section(
        "Backward: paths from layer 1",
        r"\partial \mathcal{L}/\partial W_{1ij} = \sum_{m, o} \partial \mathcal{L}/\partial \hat{y}_o\,"
        r"\partial \hat{y}_o/\partial a_{2m}\,\partial a_{2m}/\partial h_{1i}\,"
        r"\partial h_{1i}/\partial a_{1i}\,\partial a_{1i}/\partial W_{1ij}",
        remark=f"{4 if mixes else 2} paths lead from a weight to the loss, through both neurons of layer 2.",
    )
    for i in BOTH:
        through = [(o, k) for k in BOTH for o in (BOTH if mixes else [k])]
        _gradient(sheet, 1, i, [[*_to_output(sheet, o, k), *_to_hidden(sheet, k, i)] for o, k in through])

    sheet.section("Update", r"\theta_{t+1} = \theta_t - \eta\,\nabla_\theta \mathcal{L}(\theta)")
    letters.update(sheet, LETTERS)
    sheet.section("Forward again")
    letters.forward(sheet, example, LETTERS, "new ")


def _gradient(sheet: Sheet, l: int, i: int, routes: list[list[Expression]]) -> None:
    """By the pre-activation of a neuron, then by its weights and its bias."""
    a = LETTERS.z(l, i)
    sheet.let(("dz", l, i), LETTERS.derivative(a), _over(routes))
    for j in BOTH:
        weight = LETTERS.w(l, i, j)
        last = Named(_by(a, weight), sheet["a", l - 1, j])
        sheet.let(("dw", l, i, j), LETTERS.derivative(weight), _over([*route, last] for route in routes))
    sheet.let(("db", l, i), LETTERS.derivative(LETTERS.b(l, i)), sheet["dz", l, i])


def _to_output(sheet: Sheet, o: int, i: int) -> list[Expression]:
    return [sheet["da", 2, o], sheet["jacobian", 2, o, i]]


def _to_hidden(sheet: Sheet, k: int, i: int) -> list[Expression]:
    return [Named(_by(LETTERS.z(2, k), LETTERS.a(1, i)), sheet["w", 2, k, i]), sheet["slope", 1, i]]


def _over(routes: Iterable[list[Expression]]) -> Expression:
    return added([multiplied(route) for route in routes])


def _by(above: str, below: str) -> str:
    return rf"\partial {above}/\partial {below}"
