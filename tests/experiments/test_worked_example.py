"""The worked example: every printed number is that of autodiff, and what its printed formula comes to."""

import functools
import itertools
import re

import numpy as np
import pytest

from experiments.common.errors import UserError
from experiments.worked_example import autodiff, command, text
from experiments.worked_example.expression import Exact
from experiments.worked_example.layers import LAYERS
from experiments.worked_example.network import Example
from experiments.worked_example.notations import NOTATIONS
from experiments.worked_example.sheet import Sheet, difference, wrong

PLAIN = Example((1.0, 2.0), (1.0, 0.0), 0.5, "sigmoid", "quadratic")
EXAMPLES = {
    f"{head} {activation}": PLAIN._replace(head=head, activation=activation)
    for head, activation in itertools.product(autodiff.NAMES, ("sigmoid", "tanh"))
} | {
    "saturated": Example((10.0, -10.0), (-9.0, 7.0), 10.0, "sigmoid", "quadratic"),
    "thirds": Example((1 / 3, -2 / 3), (1 / 7, 6 / 7), 1 / 9, "sigmoid", "cross_entropy"),
    "zero": Example((0.0, 0.0), (0.0, 1.0), 0.0, "tanh", "cross_entropy"),
}


A_MILLIONTH_MORE = Exact("1.000001", 1.000001)


@pytest.fixture(scope="module")
def truths():
    return {name: autodiff.truth(example) for name, example in EXAMPLES.items()}


def written(notation, example):
    sheet = Sheet()
    NOTATIONS[notation].write(sheet, example)
    return sheet


def evaluated(formula):
    """What a printed formula comes to, read as one reads it: a calculator's keys, and matrices [1 2; 3 4]."""
    formula = re.sub(r"\[([^\]]*)\]", r"matrix('\1')", formula)
    formula = re.sub(r"\) (?=matrix|log)", ") @ ", formula)
    formula = re.sub(r"‖(.*?)‖\^2", r"sum((\1)**2)", formula)
    for sign, code in {"·": "*", "⊙": "*", "^": "**"}.items():
        formula = formula.replace(sign, code)
    known = {name: getattr(np, name) for name in ("exp", "log", "tanh", "sum")}
    known["matrix"] = lambda rows: np.array([[float(n) for n in row.split()] for row in rows.split(";")])
    with np.errstate(over="ignore"):
        return eval(formula, {"__builtins__": {}}, known)


def six_digits(value):
    return [f"{entry + 0.0:.6g}" for entry in np.ravel(value)]


def printed_steps(page):
    """Of each line of a page: its formulas, and its result."""
    for block in page.split("\n\n"):
        if found := re.fullmatch(r"  (\S.*)( off by \S+)", " ".join(block.split("\n")), re.DOTALL):
            one_line = re.sub(r" +", " ", found[1])
            _, *formulas, result = re.split(r" (?:=|←|:=) ", one_line)
            yield formulas, result


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("notation", NOTATIONS)
def test_every_line_is_that_of_autodiff_and_what_is_printed(notation, name, truths):
    sheet, truth = written(notation, EXAMPLES[name]), truths[name]
    assert {("dz", 1), ("dz", 2), ("dw", 1), ("db", 2), ("new w", 1), ("new cost", 2)} <= {
        line.key[:2] for line in sheet.lines
    }
    _all_is_right(sheet, truth)


def _all_is_right(sheet, truth):
    assert wrong(sheet, truth) == []
    page = text.text("title", "beside", sheet, truth, "closing")
    assert max(map(len, page.splitlines())) <= 80
    steps = list(printed_steps(page))
    assert len(steps) == len(sheet.lines)
    put_in = 0
    for formulas, result in steps:
        for formula in formulas:
            if not re.search(r"_|[^\W\d]", re.sub(r"exp|log|tanh|sum|\de", "", formula)):  # no letters
                assert six_digits(evaluated(formula)) == six_digits(evaluated(result)), formula
                put_in += 1
    assert put_in > 0.8 * len(steps)  # in some lines one number is what another one is


def test_the_notes_agree(truths):
    """Number by number, of whatever more than one of them prints."""
    truth, seen = truths["thirds"], {}
    for notation in NOTATIONS:
        for line in written(notation, EXAMPLES["thirds"]).lines:
            name, layer, *neurons = line.key
            whole, place = np.full(truth[name, layer].shape, np.nan), tuple(n - 1 for n in neurons)
            whole[place] = np.reshape(line.value, whole[place].shape)
            seen.setdefault((name, layer), {}).setdefault(notation, []).append(whole)
    common = {key: found for key, found in seen.items() if len(found) == len(NOTATIONS)}
    assert {"z", "a", "cost", "dz", "dw", "db", "new w", "new b", "new cost"} <= {name for name, _ in common}
    for found in common.values():
        pages = [np.nanmax(parts, axis=0) for parts in found.values()]
        for page in pages:
            np.testing.assert_allclose(page, pages[0], rtol=1e-14, atol=1e-16)


LETTERS = {
    "matrix_form": ("δ_1 = (W_2^T δ_2) ⊙ f_1'(W_1 x_0 + b_1)", "∂E/∂W_2 = δ_2 x_1^T", "E = 1/2 ‖x_2 - t‖^2"),
    "two_passes": ("z_2 = x_1 w_3 + x_2 w_4 + b_2", "∂l/∂a_1 = ∂z_3/∂a_1 ∂l/∂z_3 + ∂z_4/∂a_1 ∂l/∂z_4"),
    "index_and_vector_forms": (
        "δ_1^(1) = σ'(z_1^(1)) (δ_1^(2) w_11^(2) + δ_2^(2) w_21^(2))",
        "w_12^(1) ← w_12^(1) - η ∂L/∂w_12^(1)",
    ),
    "paths": (
        "a_11 = W_111 x_1 + W_112 x_2 + b_11",
        "∂L/∂ŷ_1 ∂ŷ_1/∂a_21 ∂a_21/∂h_12 ∂h_12/∂a_12 ∂a_12/∂W_121",
    ),
    "four_equations": (
        "c_x = 1/2 ((y_1 - a_1^[2])^2 + (y_2 - a_2^[2])^2)",
        "e_2^[1] = w_12^[2] e_1^[2] g'(z_2^[1]) + w_22^[2] e_2^[2] g'(z_2^[1])",
    ),
}


RATE = 0.5


@functools.cache
def truth_of_layer(name):
    return LAYERS[name].truth(RATE)


def of_layer(name):
    """The sheet of a layer, and its numbers by JAX."""
    sheet = Sheet()
    LAYERS[name].write(sheet, RATE)
    return sheet, truth_of_layer(name)


NOT_ASKED = {
    "convolution": {"dy", "da"},
    "batch_norm": {"dy", "de"},
    "lstm": {"dy", "dq"},
    "attention": {"dy", "dscale", "new scale"},
}
"""Of targets and constants no derivative is printed; that by an a of the convolution is in its delta."""


@pytest.mark.parametrize("name", LAYERS)
def test_every_line_of_a_layer_is_that_of_autodiff_and_what_is_printed(name):
    sheet, truth = of_layer(name)
    _all_is_right(sheet, truth)
    printed = {}
    for line in sheet.lines:
        symbol, _, *place = line.key
        printed.setdefault(symbol, []).append(np.size(line.value))
        assert len(place) <= 2
    not_printed = {key for key, _ in truth} - printed.keys()
    assert not_printed == NOT_ASKED[name] | (
        {"new m", "new v", "new r", "new n"} if name == "batch_norm" else set()
    )
    for symbol, sizes in printed.items():  # nothing is left out
        assert sum(sizes) == truth[symbol, 1].size, symbol


PLANTED = {
    "convolution": (("dz", 1, 2), ("dw", 1, 1), ("dx", 1, 4), ("new b", 1)),
    "batch_norm": (("m", 1), ("dv", 1), ("dm", 1), ("dx", 1, 3), ("new g", 1)),
    "lstm": (("dnext c", 1), ("dgate", 1, 2), ("dz", 1, 3), ("dc", 1), ("new u", 1, 4)),
    "attention": (("a", 1, 1, 2), ("dz", 1, 2, 1), ("dk", 1, 1), ("dWV", 1), ("new WQ", 1)),
}


@pytest.mark.parametrize(("name", "planted"), [(name, key) for name in LAYERS for key in PLANTED[name]])
def test_a_wrong_line_of_a_layer_is_caught_where_it_is(name, planted, monkeypatch):
    let = Sheet.let

    def spoilt(sheet, key, symbol, expression, **options):
        expression = A_MILLIONTH_MORE * expression if key == planted else expression
        return let(sheet, key, symbol, expression, **options)

    monkeypatch.setattr(Sheet, "let", spoilt)
    sheet, truth = of_layer(name)
    bad = [line.key for line in wrong(sheet, truth)]
    assert bad[0] == planted
    assert f"NOT what JAX says: {len(bad)} of" in command.conclusion(sheet, truth)


def test_a_layer_on_the_command_line(tmp_path, capsys):
    path = tmp_path / "example.md"
    assert command.main(["--network", "convolution", "--markdown", str(path)]) == 0
    assert "All 27 lines are what JAX computes in float64" in capsys.readouterr().out
    page = path.read_text(encoding="utf-8")
    assert page.startswith("# A convolution, forward and backward by hand\n")
    assert page.count("\\begin{aligned}") == 27
    assert r"\delta_1 &= (a_1 - y_1)\,\sigma'(z_1)" in page


@pytest.mark.parametrize("notation", NOTATIONS)
def test_each_note_has_its_letters(notation, truths):
    page = text.text("", "", written(notation, PLAIN), truths["quadratic sigmoid"], "")
    for line in LETTERS[notation]:
        assert line in page


@pytest.mark.parametrize("planted", [("dz", 2), ("dz", 1), ("dw", 2), ("da", 2), ("new b", 1)])
@pytest.mark.parametrize("notation", NOTATIONS)
def test_a_wrong_line_is_caught_where_it_is(notation, planted, truths, monkeypatch):
    """One line of the sheet a millionth too large: it and nothing before it is wrong."""
    right = written(notation, PLAIN)
    keys = [line.key for line in right.lines]
    found = [key for key in keys if key[:2] == planted]
    if not found:
        assert planted == ("da", 2)  # which is not a line of its own in every note
        return
    let = Sheet.let

    def spoilt(sheet, key, symbol, expression, **options):
        expression = expression * A_MILLIONTH_MORE if key == found[-1] else expression
        return let(sheet, key, symbol, expression, **options)

    monkeypatch.setattr(Sheet, "let", spoilt)
    sheet, truth = written(notation, PLAIN), truths["quadratic sigmoid"]
    bad = [line.key for line in wrong(sheet, truth)]
    assert bad[0] == found[-1]
    assert ("new cost", 2) in bad
    page = text.text("", "", sheet, truth, command.conclusion(sheet, truth))
    assert page.count("WRONG: off by") == len(bad)
    assert f"NOT what JAX says: {len(bad)} of {len(keys)} lines" in page


def test_markdown_has_the_same_lines(tmp_path, capsys):
    path = tmp_path / "example.md"
    assert command.main(["--notation", "003", "--head", "cross_entropy", "--markdown", str(path)]) == 0
    assert "All 54 lines are what JAX computes in float64" in capsys.readouterr().out
    page = path.read_text(encoding="utf-8")
    blocks = re.findall(r"```math\n(.*?)\n```", page, flags=re.DOTALL)
    assert page.count("```") == 2 * len(blocks)
    assert sum("aligned" in block for block in blocks) == 54
    for block in blocks:
        assert re.match(r"\\begin\{(\w+)\}.*\\end\{\1\}$", block, flags=re.DOTALL)
        assert block.count("{") == block.count("}")
        assert block.count("(") == block.count(")")
        assert not set(re.findall(r"[^\x00-\x7f]", block))  # LaTeX, no Unicode
    assert re.search(r"\\partial \\mathcal\{L\}/\\partial W_\{111\} &= ", page)
    checks = re.findall(r"the worst of (\d+) lines: off by \S+\.", page)
    assert sum(map(int, checks)) == 54
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--notation", "four_equation"], r"--notation was 'four_equation'; did you mean 'four_equations'\?"),
        (["--head", "softmax"], "--head was 'softmax'"),
        (["--activation", "relu"], "--activation was 'relu'"),
        (["--inputs", "nan", "1"], "--inputs was nan; expected a number"),
        (["--learning-rate", "-1"], "--learning-rate was -1; expected 0 to 10"),
        (
            ["--head", "cross_entropy", "--targets", "1", "1"],
            "--targets was 1 1; cross_entropy expects prob",
        ),
        (["--markdown", "/nowhere/at/all.md"], "/nowhere/at/all.md cannot be written"),
        (["--markdown", ""], "--markdown was ''; expected a path"),
        (["--markdown", "/"], "--markdown was '/'; expected a file"),
        (["--network", "lstn"], r"--network was 'lstn'; did you mean 'lstm'\?"),
        (["--network", "lstm", "--head", "cross_entropy"], "--head was given with --network lstm; it is for"),
        (["--network", "attention", "--inputs", "1", "1"], "--inputs was given with --network attention"),
    ],
)
def test_what_is_refused(args, sentence):
    with pytest.raises(UserError, match=sentence):
        command.main(args)


def test_no_number_is_right_by_chance(truths):
    """The numbers of a layer differ in size, so that none can stand for another one."""
    for name in ("z", "a", "dz", "dw", "db", "slope"):
        sizes = np.abs(np.ravel(truths["quadratic sigmoid"][name, 1]))
        assert np.min(np.abs(np.subtract.outer(sizes, sizes)) + np.eye(len(sizes))) > 1e-3, name


def test_a_line_that_is_not_finite_is_wrong(truths):
    (line, *_) = written("paths", PLAIN).lines
    assert difference(line._replace(value=float("nan")), truths["quadratic sigmoid"]) == float("inf")
