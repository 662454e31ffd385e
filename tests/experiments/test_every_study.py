"""Every study from its command line: a table, one sentence, figures and a picture; and what is refused."""

import importlib
import io
import json
import math
import re
import shlex
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from experiments.common import commands, study
from experiments.common.errors import UserError

STUDIES = {
    name: module.STUDY
    for name in commands.questions()
    if hasattr(module := importlib.import_module(f"experiments.{name}"), "STUDY")
}


def numbers(figures):
    """Every number in a JSON document."""
    if isinstance(figures, dict):
        figures = list(figures.values())
    if isinstance(figures, list):
        return [n for item in figures for n in numbers(item)]
    return [figures] if isinstance(figures, int | float) else []


def words(table, width):
    """Every word of a table, as it is printed in so many columns; what is cut or broken is another word."""
    output = io.StringIO()
    Console(file=output, width=width).print(table)
    lines = output.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    return Counter(re.sub(r"[─-╿]", " ", "\n".join(lines)).split())


def longest(figures):
    """The figures with numbers as long as they come where they are not counts."""
    if isinstance(figures, dict):
        return {key: longest(value) for key, value in figures.items()}
    if isinstance(figures, list):
        return [longest(value) for value in figures]
    return math.copysign(1.2345678e-17, figures) if isinstance(figures, float) else figures


def assert_fits(study, figures):
    """80 columns hold the table: no cell is cut, and no number broken."""
    for numbers in (figures, longest(figures)):
        assert words(study.table(numbers), 80) == words(study.table(numbers), 500)


KEPT = sorted((Path(__file__).parent / "figures").glob("*.json"))


@pytest.mark.parametrize("path", KEPT, ids=[path.stem for path in KEPT])
def test_tables_of_kept_figures_fit(path):
    """Of studies that take long, and of runs whose tables are wide; a run writes them as metrics.json."""
    assert_fits(STUDIES[path.stem.split("-")[0]], json.loads(path.read_text(encoding="utf-8")))


def test_there_are_studies():
    assert len(STUDIES) >= 7
    assert all(study.name == name for name, study in STUDIES.items())


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if s.long else []) for n, s in STUDIES.items()]
)
def test_a_study_runs(name, tmp_path, capsys):
    out = tmp_path / "run"
    try:
        assert study.run(STUDIES[name], [*shlex.split(STUDIES[name].small), "--out", str(out)]) == 0
    except UserError as error:
        if "could not be fetched" not in str(error):
            raise
        pytest.skip(str(error))
    printed = capsys.readouterr().out
    assert printed.rstrip().endswith(".")  # a sentence
    figures = json.loads((out / "metrics.json").read_text())
    assert figures["settings"]["seed"] == 0
    assert all(math.isfinite(n) for n in numbers(figures))
    assert len(numbers(figures)) > 5
    assert (out / "picture.png").read_bytes()[:4] == b"\x89PNG"
    assert_fits(STUDIES[name], figures)
    with pytest.raises(UserError, match="already holds a run"):
        study.run(STUDIES[name], ["--out", str(out)])


@pytest.mark.parametrize("name", STUDIES)
def test_help_asks_the_question(name, capsys):
    with pytest.raises(SystemExit) as done:
        study.run(STUDIES[name], ["--help"])
    assert done.value.code == 0
    text = capsys.readouterr().out
    assert commands.question(name).split()[-1] in text
    assert "--seed" in text
    assert f"experiments.{name}" in text


@pytest.mark.parametrize("name", STUDIES)
def test_a_negative_seed_is_refused(name):
    with pytest.raises(UserError, match="--seed was -1; expected at least 0"):
        study.run(STUDIES[name], ["--seed", "-1"])
