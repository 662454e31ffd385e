"""The study of the checks: what each says of pairs that are known, and how the answers are counted."""

import pkgutil

import numpy as np
import pytest

from experiments.common.errors import UserError
from experiments.verifier_comparison import checks, measure, planted, show
from experiments.verifier_comparison.checks import CHECKS, Answer, Case
from experiments.verifier_comparison.planted import collection

DRAWS = 2
DOUBLE_ONLY = {"gradcheck float32"}
"""Checks that are said to fail in float32 whatever the gradient is."""


def case(bwd):
    """The square of four numbers, times ten, with this backward."""
    x = np.array([0.5, -1.5, 2.0, 1.0])
    return Case(lambda x: (10 * x * x, x), bwd, lambda x: 10 * x**2, (x,), (0, 0))


def raising(x, dy):
    raise RuntimeError("not written yet")


def test_it_is_the_whole_collection():
    families = {info.name for info in pkgutil.iter_modules(planted.__path__)} - {
        "form",
        "planting",
        "collection",
    }
    assert families == {module.__name__.rpartition(".")[2] for module in collection.MODULES}


@pytest.mark.parametrize("check", CHECKS)
def test_a_right_pair_and_plain_mistakes(check):
    assert checks.ask(check, case(lambda x, dy: (20 * x * dy,))).complains == (check in DOUBLE_ONLY)
    for wrong in (lambda x, dy: (20 * x,), lambda x, dy: (-20 * x * dy,), lambda x, dy: (None,)):
        answer = checks.ask(check, case(wrong))
        assert answer.complains
        assert not answer.raised
        assert bool(answer.kinds) == check.startswith("ours")


@pytest.mark.parametrize("check", CHECKS)
def test_what_raises_is_not_silent(check):
    answer = checks.ask(check, case(raising))
    assert answer.complains
    if check.startswith("ours"):  # which says so in a finding
        assert answer.kinds == ("raises",)
    else:
        assert "not written yet" in answer.raised


@pytest.mark.slow
def test_ours_names_a_mistake_and_accuses_no_right_pair():
    settings = measure.Settings(draws=1)
    mistake = measure.of_mistake("kept not divided", settings)["checks"]
    right = measure.of_right("dropout by a mask", settings)["checks"]
    for check in ("ours float32", "ours float64"):
        assert mistake[check]["complaints"] == mistake[check]["named"] == 1
        assert mistake[check]["kinds"] == ["factor"]
        assert right[check]["complaints"] == 0


def fake(check, case):
    """Of some checks: silent; a complaint at the first draw; an error; a complaint of another kind."""
    first = case.seed[1] == 0
    answers = {
        "check_grads float32": Answer(False),
        "check_grads float64": Answer(first),
        "chex float32": Answer(True, raised="TypeError: no"),
        "ours float64": Answer(True, ("sign",)),
    }
    return answers.get(check, Answer(True, ("factor",)))._replace(seconds=2.0 if first else 0.5)


def test_counts(monkeypatch):
    monkeypatch.setattr(checks, "ask", fake)
    figures = measure.measure(measure.Settings(only="weight", draws=DRAWS))
    rights = [row["name"] for row in figures["rights"]]
    assert rights == ["dense, square weights", "weighted mean of cross-entropies"]
    count = len(figures["mistakes"])
    assert count > 5
    counted = figures["checks"]
    silent, wavering, raising, ours32, ours64 = (
        counted[check]
        for check in (
            "check_grads float32",
            "check_grads float64",
            "chex float32",
            "ours float32",
            "ours float64",
        )
    )
    below = [row["name"] for row in figures["mistakes"] if "ours bfloat16" not in row["checks"]]
    assert below == ["weight's cotangent left in bfloat16"]
    assert (counted["ours bfloat16"]["mistakes"], counted["ours bfloat16"]["left_out"]) == (count - 1, 1)
    assert (silent["mistakes"], silent["left_out"]) == (count, 0)
    assert (silent["caught"], silent["sometimes"], silent["alarms"]) == (0, 0, 0)
    assert (wavering["mistakes"], wavering["caught"], wavering["sometimes"]) == (count, 0, count)
    assert (wavering["alarms"], wavering["tries"]) == (2, 2 * DRAWS)
    assert (raising["caught"], raising["raised"]) == (count, DRAWS * count)
    assert (raising["alarms"], raising["alarms_raised"]) == (2 * DRAWS, 2 * DRAWS)
    assert (ours64["caught"], ours64["named"], ours64["seconds"]) == (count, 0, 2.0)
    factors = [row for row in figures["mistakes"] if "factor" in row["kinds"]]
    assert ours32["named"] == len(factors)
    said = show.sentence(figures)
    assert f"ours float64 {count} of {count}" in said
    assert "misses none, and accuses “dense, square weights”, “weighted mean of cross-entropies”." in said


def test_what_is_refused():
    with pytest.raises(UserError, match="--draws was 0; expected at least 1"):
        measure.measure(measure.Settings(draws=0))
    with pytest.raises(UserError, match="--only was 'nothing of the kind'"):
        measure.measure(measure.Settings(only="nothing of the kind"))
