"""Every study from its command line: a table, one sentence, figures and a picture; and what is refused."""

import importlib
import json
import math
import shlex

import pytest

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


def test_there_are_studies():
    assert len(STUDIES) >= 7
    assert all(study.name == name for name, study in STUDIES.items())


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if s.long else []) for n, s in STUDIES.items()]
)
def test_a_study_runs(name, tmp_path, capsys):
    out = tmp_path / "run"
    assert study.run(STUDIES[name], [*shlex.split(STUDIES[name].small), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed.rstrip().endswith(".")  # a sentence
    figures = json.loads((out / "metrics.json").read_text())
    assert figures["settings"]["seed"] == 0
    assert all(math.isfinite(n) for n in numbers(figures))
    assert len(numbers(figures)) > 5
    assert (out / "picture.png").read_bytes()[:4] == b"\x89PNG"
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
