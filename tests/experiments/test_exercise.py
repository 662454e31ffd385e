"""The exercises from the command line: printed, begun, judged, and what is refused."""

import ast
import inspect

import pytest

from experiments.common import errors
from experiments.exercise import answer, command
from manual_bp.textbook.exercises import EXERCISES


def run(capsys, *args):
    """Exit code, output and errors of the command."""
    with pytest.raises(SystemExit) as done:
        errors.run(lambda: command.main([str(arg) for arg in args]))
    return done.value.code, *capsys.readouterr()


@pytest.fixture
def written(tmp_path):
    """A function that writes an answer."""

    def write(text):
        path = tmp_path / "answer.py"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_all_are_listed(capsys):
    code, out, _ = run(capsys)
    assert code == 0
    assert [line for line in out.splitlines() if line[:2].strip().isdigit()] == [
        f"{number:>2}  {exercise.title}" for number, exercise in EXERCISES.items()
    ]
    assert len(EXERCISES) == 15


def test_help_fits_80_columns(capsys):
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert all(option in out for option in ("--answer", "--start", "--hint", "--solution"))


def test_one_is_printed_with_its_forward_hint_and_solution(capsys):
    exercise = EXERCISES[5]
    code, out, _ = run(capsys, 5)
    assert code == 0
    assert out.startswith(str(exercise))
    assert inspect.getsource(exercise.fwd) in out
    solution = inspect.getsource(exercise.bwd)
    assert solution not in out
    assert run(capsys, 5, "--hint")[:2] == (0, exercise.hint + "\n")
    assert run(capsys, 5, "--solution")[:2] == (0, solution)


@pytest.mark.parametrize("number", EXERCISES)
def test_a_new_file_is_python_that_lacks_one_thing(number):
    tree = ast.parse(answer.template(EXERCISES[number]))
    (bwd,) = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert bwd.name == "bwd"
    assert any(isinstance(node, ast.Constant) and node.value is ... for node in ast.walk(bwd))


def test_a_file_is_begun_and_never_overwritten(capsys, tmp_path):
    path = tmp_path / "answer.py"
    code, out, _ = run(capsys, 2, "--start", path)
    assert code == 0
    assert f"python -m experiments.exercise 2 --answer {path}" in out
    begun = path.read_text()
    assert begun == answer.template(EXERCISES[2])
    code, _, err = run(capsys, 3, "--start", path)
    assert (code, err) == (2, f"error: --start was {path}, which is there already; expected a new file.\n")
    assert path.read_text() == begun
    code, out, _ = run(capsys, 2, "--answer", path)  # as it is, it returns what it has not computed
    assert code == 1
    line = begun.splitlines().index("    return du, db") + 1
    assert f"{path}, line {line}, `return du, db`:\n  NameError: name 'du' is not defined\n" in out


def test_right(capsys, written):
    path = written("import jax.numpy as jnp\ndef bwd(residuals, dz):\n    return dz, jnp.sum(dz, 0)\n")
    code, out, _ = run(capsys, 2, "--answer", path)
    assert code == 0
    assert out.startswith("Exercise 2. The bias gradient of a batch: right.\n\n  du  error ")
    assert out.count("allowed") == 2


def test_wrong_in_words(capsys, written):
    path = written("def bwd(residuals, dz):\n    return dz, dz.mean(0)\n")
    code, out, _ = run(capsys, 2, "--answer", path)
    assert code == 1
    assert out == (
        "Exercise 2. The bias gradient of a batch: not right yet.\n\n"
        "  db: it is 1/u.shape[0] with u.shape[0] = 4 times the right one\n"
        "  du is right\n"
    )


RETURNED = {
    "return dz": "bwd returned one ",
    "return [dz, dz.sum(0)]": "bwd returned one list; expected du, db.",
    "return dz, dz.sum(0), None": "bwd returned a tuple of 3; expected du, db.",
    "pass": "bwd returned one NoneType; expected du, db.",
    "return dz, dz": "db: the cotangent has shape (4, 3); expected (3,)",
    "return dz, dz @ dz": "TypeError: dot_general requires contracting dimensions",
    "return dz, float(dz[0, 0])": "Compute with jax.numpy",
    "raise SystemExit": "SystemExit: no message",
    "return dz, dz.sum(0).reshape(3) if len(dz) > 1 else 1 / 0": "ZeroDivisionError",
}


@pytest.mark.parametrize("line", RETURNED)
def test_what_is_said_of_what_is_returned(line, capsys, written):
    path = written(f"def bwd(residuals, dz):\n    {line}\n")
    code, out, err = run(capsys, 2, "--answer", path)
    assert code == 1
    assert RETURNED[line] in out
    assert "Traceback" not in out + err
    if "Error: " in RETURNED[line]:
        assert f"{path}, line 2, `{line}`:\n  {RETURNED[line]}" in out
        assert "The shapes are dz (4, 3)." in out


FILES = {
    "def bwd(residuals, dz)\n    return dz\n": "line 1, `def bwd(residuals, dz)`: SyntaxError: expected",
    "import jax\n\nx = jax.nump.zeros(3)\n": "line 3, `x = jax.nump.zeros(3)`: AttributeError: ",
    "\nopen('there/is/none')\n": "line 2, `open('there/is/none')`: FileNotFoundError: ",
    "raise SystemExit('done')\n": "line 1, `raise SystemExit('done')`: SystemExit: done.",
    "def backward(residuals, dz):\n    return dz\n": "has no function bwd; expected def bwd(residuals, dz).",
    "bwd = 3\n": "has a bwd that is 3; expected a function, def bwd(residuals, dz).",
    "def bwd(u, b, dz):\n    return dz\n": "has bwd(u, b, dz); expected two arguments, def bwd(",
    "def bwd(*, dz):\n    return dz\n": "has bwd(*, dz); expected two arguments",
    "\0": "null bytes",
}


@pytest.mark.parametrize("text", FILES)
def test_a_file_that_is_no_answer(text, capsys, written):
    path = written(text)
    code, out, err = run(capsys, 2, "--answer", path)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: --answer {path}")
    assert FILES[text] in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["16"], "the exercise was 16; expected a number from 1 to 15."),
        (["0"], "the exercise was 0; expected a number from 1 to 15."),
        (["--hint"], "--hint was given without the number of an exercise; expected python -m"),
        (["three"], "argument N: invalid int value: 'three'."),
        (["3", "4"], "unrecognized arguments: 4."),
        (["3", "--hnt"], "unrecognized arguments: --hnt."),
        (["3", "--answer"], "argument --answer: expected one argument."),
        (["3", "--hint", "--solution"], "argument --solution: not allowed with argument --hint."),
        (
            ["3", "--answer", "there/is/none.py"],
            "--answer there/is/none.py cannot be read: No such file or directory.",
        ),
        (["3", "--answer", "."], "--answer . cannot be read: it is a folder, expected a regular file."),
        (["3", "--start", "there/is/none.py"], "--start there/is/none.py cannot be written: No such file"),
    ],
)
def test_bad_use(args, words, capsys):
    code, out, err = run(capsys, *args)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {words}")
    assert err.count("\n") == 1
