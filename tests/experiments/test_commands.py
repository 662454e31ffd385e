"""`python -m experiments`: the top level of the folder is the list of commands."""

import re
from pathlib import Path

import pytest

import experiments
from experiments.common import commands, errors

FOLDER = Path(experiments.__path__[0])
ROOMS = {"common", "data"}
"""What commands share."""


def test_nothing_but_commands_is_at_the_top():
    packages = {path.name for path in FOLDER.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert packages == set(commands.questions()) | ROOMS
    assert {path.name for path in FOLDER.glob("*.*")} == {"__init__.py", "__main__.py"}


def test_an_experiment_imports_no_tests():
    sources = [path.read_text(encoding="utf-8") for path in FOLDER.rglob("*.py")]
    assert len(sources) > 50
    assert not any(re.search(r"^\s*(from|import) tests\b", source, flags=re.M) for source in sources)


def test_every_command_is_listed_with_its_question(capsys):
    commands.main([])
    lines = capsys.readouterr().out.splitlines()
    listed = dict(re.findall(r"^python -m experiments\.(\w+) +(\S.*\?.*)$", "\n".join(lines), flags=re.M))
    assert set(listed) == {path.parent.name for path in FOLDER.glob("*/__main__.py")}
    assert len(listed) >= 9
    assert all(listed[name] == commands.question(name) for name in listed)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("train", "experiments: 'train' is a command of its own: run python -m experiments.train."),
        ("tran", "experiments: the command was 'tran'; did you mean 'train'?"),
    ],
)
def test_a_command_is_told_where_it_is(given, sentence, capsys):
    with pytest.raises(SystemExit) as done:
        errors.run(lambda: commands.main([given, "--epochs", "3"]))
    assert done.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {sentence}")
