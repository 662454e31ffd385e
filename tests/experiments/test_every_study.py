"""Every study from its command line: a table, one sentence, figures and a picture; and what is refused."""

import importlib
import json
import math
import pkgutil

import pytest

import experiments
from experiments.common import study
from experiments.common.errors import UserError

SMALL = {
    "mistakes": ["--only", "002 bias by an elementwise product", "--repeats", "1", "--steps", "2"],
    "one_gradient": [
        "--hidden",
        "2",
        "--examples",
        "1",
        "--path-widths",
        "2",
        "3",
        "--index-widths",
        "2",
        "3",
        "--vector-widths",
        "2",
        "3",
        "--depths",
        "1",
        "2",
        "--rounds",
        "1",
    ],
    "one_weight": ["--widths", "4", "2", "3", "--weight", "2", "1", "1"],
    "saturation": ["--epochs", "2", "--inits", "1", "--neuron-epochs", "3", "--hidden", "5"],
    "step_size": ["--directions", "3", "--examples", "2", "--batch-sizes", "2", "--kink-steps", "0.1"],
    "vanishing": [
        "--depths",
        "2",
        "--activations",
        "sigmoid",
        "--initializations",
        "near_zero",
        "--draws",
        "5",
        "--examples",
        "50",
        "--epochs",
        "1",
    ],
    "verifier_comparison": ["--only", "dropout by a mask", "--draws", "1"],
}
"""Options that make a study small."""

LONG = {"mistakes", "one_gradient"}
"""Those that compile for long all the same."""

STUDIES = {
    name: module.STUDY
    for name in (info.name for info in pkgutil.iter_modules(experiments.__path__))
    if hasattr(module := importlib.import_module(f"experiments.{name}"), "STUDY")
}


def numbers(figures):
    """Every number in a JSON document."""
    if isinstance(figures, dict):
        figures = list(figures.values())
    if isinstance(figures, list):
        return [n for item in figures for n in numbers(item)]
    return [figures] if isinstance(figures, int | float) else []


def test_all_are_here():
    assert set(SMALL) == set(STUDIES)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n in LONG else []) for n in SMALL]
)
def test_a_study_runs(name, tmp_path, capsys):
    out = tmp_path / "run"
    assert study.run(STUDIES[name], [*SMALL[name], "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert printed.rstrip().endswith(".")  # a sentence
    figures = json.loads((out / "metrics.json").read_text())
    assert figures["settings"]["seed"] == 0
    assert all(math.isfinite(n) for n in numbers(figures))
    assert len(numbers(figures)) > 5
    assert (out / "picture.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(UserError, match="already holds a run"):
        study.run(STUDIES[name], ["--out", str(out)])


@pytest.mark.parametrize("name", SMALL)
def test_help_asks_a_question(name, capsys):
    with pytest.raises(SystemExit) as done:
        study.run(STUDIES[name], ["--help"])
    assert done.value.code == 0
    text = capsys.readouterr().out
    assert "?" in text
    assert "--seed" in text
    assert f"experiments.{name}" in text


@pytest.mark.parametrize("name", SMALL)
def test_a_negative_seed_is_refused(name):
    with pytest.raises(UserError, match="--seed was -1; expected at least 0"):
        study.run(STUDIES[name], ["--seed", "-1"])
