"""The benchmark compares like with like, writes what it says, and tells a user's mistakes."""

import json
import re

import jax
import jax.numpy as jnp
import pytest
from jax.core import Tracer

from experiments.benchmark import command, overhead, table
from experiments.benchmark import rows as benchmark_rows
from experiments.benchmark.result import Result
from experiments.benchmark.rows.row import Alone
from experiments.common import errors, timing

SMALL = benchmark_rows.rows(scale=0.01)

BY_ITSELF = ("alone_ms", "torch_ms", "torch_compiled_ms")
NUMBERS = ("time_ratio", "ms", "opponent_ms", "compile_s")
KEYS = {"name", "size", "opponent", "memory_ratio", "temp_bytes", "opponent_temp_bytes",
        "matmul_share", *BY_ITSELF, *NUMBERS}  # fmt: skip
BESIDE = {f"{side}{what}_ms" for side in ("", "opponent_") for what in ("eager", "trace", "compile")}
BESIDE |= {"eager_ratio", "trace_ratio", "compile_ratio"}


def exit_code(*args: str) -> int | str | None:
    """What the script exits with."""
    with pytest.raises(SystemExit) as exit_:
        errors.run(lambda: command.main(args))
    return exit_.value.code


LONG = {
    "attention.window",
    "convnet",
    "convnet.steps",
    "gpt.small",
    "gpt.vocabulary",
    "gru",
    "lstm",
    "mlp.784-100-10",
    "mlp.784-512-512-10",
    "mlp.784-30-10",
}
"""Rows that take long to compile, with another like them, or with tests of the model."""


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # of torch.compile itself
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONG)) for name in SMALL]
)
def test_both_sides_of_a_row_agree(name, monkeypatch):
    monkeypatch.setattr(timing, "BLOCK", 0)
    row = SMALL[name]()
    results = command.measure(name, row, rounds=1, peak=1e9)
    assert [r.opponent for r in results] == list(row.opponents)
    assert "jax.grad" in row.opponents
    assert (results[0].matmul_share is None) == (not name.startswith(("dense", "mlp", "gpt")))


def test_disagreement_is_not_timed():
    row = SMALL["activations.relu"]()
    wrong = row._replace(by_hand=lambda args, d: (args[0], (d,)))
    with pytest.raises(ArithmeticError, match=r"activations\.relu.*jax\.grad"):
        command.measure("activations.relu", wrong, rounds=1, peak=1e9)


def test_a_row_that_disagrees_is_told_when_the_others_are_done(monkeypatch, tmp_path, capsys):
    right = SMALL["activations.relu"]
    wrong = right()._replace(by_hand=lambda args, d: (args[0], (d,)))
    monkeypatch.setattr(benchmark_rows, "rows", lambda: {"wrong": lambda: wrong, "right": right})
    monkeypatch.setattr(timing, "PEAK_SIZES", (8,))
    path = tmp_path / "rows.json"
    with pytest.raises(ArithmeticError, match=r"^wrong: the hand-written side is .* from jax\.grad"):
        command.main(["--rounds", "1", "--json", str(path)])
    assert {row["name"] for row in json.loads(path.read_text())} == {"right"}
    assert "right" in capsys.readouterr().out


def test_writes_the_rows(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(benchmark_rows, "rows", lambda: SMALL)
    monkeypatch.setattr(timing, "PEAK_SIZES", (8,))
    path = tmp_path / "rows.json"
    path.write_text("old")
    assert exit_code("--filter", "relu", "--rounds", "2", "--json", str(path)) is None
    assert list(tmp_path.iterdir()) == [path]

    rows = json.loads(path.read_text())
    names = {name for name in SMALL if "relu" in name}
    assert {row["name"] for row in rows} == names
    printed = capsys.readouterr().out
    for row in rows:
        assert set(row) == KEYS | BESIDE
        assert row["name"] in printed
        beside = [row[key] for key in BESIDE]
        against_grad = row["opponent"] == "jax.grad"
        assert all(x is not None and x > 0 if against_grad else x is None for x in beside)
        assert all(isinstance(row[key], float) and row[key] > 0 for key in NUMBERS)
        assert all(isinstance(row[key], int) for key in ("temp_bytes", "opponent_temp_bytes"))
        assert all(isinstance(row[key], float | None) for key in BY_ITSELF)
        assert row["matmul_share"] is None
        assert row["memory_ratio"] == 1.0
    assert len({(row["name"], row["opponent"]) for row in rows}) == len(rows)


def test_each_trace_begins_with_nothing_kept():
    """Also of a jitted function inside, as JAX's own are: else whoever comes second has less to trace."""
    traced = []

    @jax.jit
    def inside(x):
        traced.append(x)
        return x + 1

    timing.take_turns_building([lambda x: inside(x)] * 2, (jnp.ones(3),), rounds=2)
    assert len(traced) == 4


def test_without_jit_is_without_jit_and_a_model_is_one_step(monkeypatch):
    monkeypatch.setattr(timing, "BLOCK", 0)
    row, given = SMALL["mlp.784-30-10"](), []
    assert row.alone is not None
    _, (x, labels) = row.alone.args
    assert x.shape == row.args[1][0].shape[1:]
    assert labels.shape == row.args[1][1].shape[1:]

    def noted(x):
        given.append(isinstance(x, Tracer))
        return x

    overhead.measure(row._replace(alone=Alone((x,), noted, noted)), rounds=1)
    assert given.count(False) >= 2
    assert given.count(True) == 2


def test_tables_fit_100_columns_and_break_no_name(capsys):
    """With the longest names and numbers that there are."""
    one = Result("", "1024x1024 1024", "", 12.345, 0.123, 123.4, 1234.5, 10**7, 10**8, 1.0, 0.5, *[123.4] * 3,
                 overhead=overhead.Overhead(*[0.12, 123.4, 1234.5] * 3))  # fmt: skip
    results = [
        one._replace(name=name, opponent=opponent)
        for name, make in SMALL.items()
        if "cross_entropy" in name or "layer" in name
        for opponent in make().opponents
    ]
    table.show(results, 1e9)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    for result in results:
        assert sum(line.split()[:1] == [result.name] for line in lines) > 1
        assert any(line.strip().startswith(f"{result.opponent} ") for line in lines)


def test_ratio_of_bytes():
    assert command.ratio_of_bytes(0, 0) == 1.0
    assert command.ratio_of_bytes(8, 0) is None
    assert command.ratio_of_bytes(0, 8) == 0.0
    assert command.ratio_of_bytes(4, 8) == 0.5


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--filter", "activations.gleu"], r"'activations\.gleu'.*nearest is 'activations\.gelu'"),
        (
            ["--json", "{folder}/missing/rows.json"],
            r"missing/rows\.json: cannot write there \(.*\)",
        ),
        (["--json", "{folder}"], r"--json .*: not a file"),
        (["--rounds", "0"], r"--rounds was 0"),
    ],
)
def test_a_mistake_is_told_before_anything_is_timed(args, sentence, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(timing, "take_turns", None)
    monkeypatch.setattr(timing, "matmul_peak", None)
    assert exit_code(*(arg.format(folder=tmp_path) for arg in args)) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(rf"error: .*{sentence}.*\.\n", error)
    assert not list(tmp_path.iterdir())
