"""What replaced lines save: what fits is run, what does not is only compiled, and it is said."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.common import memory, timing
from experiments.common.errors import UserError
from experiments.drop_in import STUDY, measure, network, show
from experiments.drop_in.measure import Settings
from tests.close import close
from tests.experiments.test_every_study import assert_fits

SMALL: dict[str, Any] = {"layers": 1, "width": 8, "heads": 2, "vocabulary": 16, "rounds": 1}


def test_all_ways_have_one_gradient():
    settings = Settings(**SMALL, batch_size=2)
    params, *batch = measure._example(settings, 5)
    params = jax.tree.map(lambda x: x.astype(jnp.float64), params)
    steps = {name: measure._step(settings, way) for name, way in network.WAYS.items()}
    found = jax.jit(lambda *args: {name: step(*args) for name, step in steps.items()})(params, *batch)
    for name in ("checkpoint", "replaced", "both"):
        close(found[name], found["plain"], 1e-12)
    value, gradient = found["plain"]
    assert float(value) == pytest.approx(np.log(16), rel=0.1)
    assert measure._difference(gradient, gradient) == 0
    off = {**gradient, "head": gradient["head"] * (1 + 1e-6)}
    assert measure._difference(off, gradient) == pytest.approx(1e-6)


def figures(limit, fits):
    """Those of a run in which some ways did not fit."""
    rows = [
        {
            "length": length,
            "difference": 1e-6 if fits else None,
            **{
                way: {
                    "bytes": 10**6 * length ** (2 if way in ("plain", "checkpoint") else 1),
                    "seconds": length / 10 if (length, way) in fits else None,
                    "ratio": 0.5 if (length, way) in fits else None,
                }
                for way in network.WAYS
            },
        }
        for length in (10, 100)
    ]
    growth = {"plain": 2.0, "checkpoint": 2.0, "replaced": 1.0, "both": 1.0}
    return {"limit": limit, "rows": rows, "growth": growth}


@pytest.mark.parametrize(
    "fits", [{(10, "plain"), (10, "replaced"), (10, "checkpoint"), (100, "replaced")}, set()]
)
def test_what_does_not_fit_is_said(fits):
    found = figures(10**9, fits)
    assert_fits(STUDY, found)
    said = show.sentence(found)
    assert ("(0.50 of the time)" in said) == bool(fits)
    ours = "a step of 100 tokens needs 100 MB (100 with jax.checkpoint too)"
    assert f"{ours} instead of 10,000 with jax.grad (not run) and" in said
    assert ("the gradients differ by 1e-06 in float32" in said) == bool(fits)
    axes = show.draw(found).axes
    hollow = [line for line in axes[0].lines if line.get_markerfacecolor() == "white"]
    assert len(hollow) == 8 - len(fits)
    assert len(axes[1].lines) == len({way for _, way in fits})


@pytest.mark.parametrize(("total", "ran"), [(3000, ["plain", "replaced"]), (1500, ["replaced"]), (100, [])])
def test_only_what_fits_is_run(total, ran, monkeypatch):
    """With arguments and results of some bytes beside what a program needs, of half of the memory."""
    needed = {network.WAYS["plain"]: 1300, network.WAYS["checkpoint"]: 1500, network.WAYS["replaced"]: 600}
    needed[network.WAYS["both"]] = 1600
    turns = []

    def contestant(step, args):
        way = step.__wrapped__.keywords["way"]
        return SimpleNamespace(temp_bytes=needed[way], output=(1.0, {"w": jnp.ones(2)}))

    def take_turns(contestants, rounds):
        turns.extend(contestants)
        return np.array([[4.0, 1.0][: len(contestants)], [8.0, 4.0][: len(contestants)]])

    monkeypatch.setattr(memory, "total", lambda: total)
    monkeypatch.setattr(memory, "size", lambda tree: 50)
    monkeypatch.setattr(timing, "Contestant", contestant)
    monkeypatch.setattr(timing, "take_turns", take_turns)
    row = measure._row(Settings(**SMALL), 8)
    assert len(turns) == len(ran)
    for name, way in network.WAYS.items():
        assert row[name]["bytes"] == needed[way]
        assert (row[name]["seconds"] is not None) == (name in ran)
    assert row["plain"]["ratio"] == ((1 / 4 + 4 / 8) / 2 if "plain" in ran else None)
    assert row["difference"] == (0 if "plain" in ran else None)


def test_the_power_is_that_of_the_last_two():
    assert measure._growth((2, 10, 100), [7, 30, 3000]) == pytest.approx(2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lengths": (8,)}, "--lengths was .*; expected two lengths or more, in rising order"),
        ({"lengths": (8, 8)}, "in rising order"),
        ({"heads": 3}, "--heads was 3; expected a number that divides the 8 of --width"),
        ({"vocabulary": 2**31 - 1, "width": 2**20, "heads": 1}, "The study needs .* bytes of memory"),
    ],
)
def test_bad_settings(given, message):
    with pytest.raises(UserError, match=message):
        measure.measure(Settings(**{**SMALL, "lengths": (8, 16), **given}))
