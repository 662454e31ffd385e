"""The benchmark compares like with like, writes what it says, and tells a user's mistakes."""

import json
import re

import pytest

from experiments.benchmark import command
from experiments.benchmark import rows as benchmark_rows
from experiments.common import errors, timing

SMALL = benchmark_rows.rows(scale=0.01)

NUMBERS = ("time_ratio", "ms", "opponent_ms", "compile_s")
KEYS = {"name", "size", "opponent", "memory_ratio", "temp_bytes", "opponent_temp_bytes",
        "matmul_share", "torch_ms", *NUMBERS}  # fmt: skip


def exit_code(*args: str) -> int | str | None:
    """What the script exits with."""
    with pytest.raises(SystemExit) as exit_:
        errors.run(lambda: command.main(args))
    return exit_.value.code


@pytest.mark.parametrize("name", SMALL)
def test_both_sides_of_a_row_agree(name, monkeypatch):
    monkeypatch.setattr(timing, "BLOCK", 0)
    row = SMALL[name]()
    results = command.measure(name, row, rounds=1, peak=1e9)
    assert [r.opponent for r in results] == list(row.opponents)
    assert "jax.grad" in row.opponents
    assert (results[0].matmul_share is None) == (not name.startswith(("dense", "mlp")))


def test_disagreement_is_not_timed():
    row = SMALL["activations.relu"]()
    wrong = row._replace(by_hand=lambda args, d: (args[0], (d,)))
    with pytest.raises(ArithmeticError, match=r"activations\.relu.*jax\.grad"):
        command.measure("activations.relu", wrong, rounds=1, peak=1e9)


def test_writes_the_rows(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(benchmark_rows, "rows", lambda: SMALL)
    monkeypatch.setattr(timing, "PEAK_SIZES", (8,))
    path = tmp_path / "rows.json"
    path.write_text("old")
    assert exit_code("--filter", "relu", "--rounds", "3", "--json", str(path)) is None
    assert list(tmp_path.iterdir()) == [path]

    rows = json.loads(path.read_text())
    names = {name for name in SMALL if "relu" in name}
    assert {row["name"] for row in rows} == names
    table = capsys.readouterr().out
    for row in rows:
        assert set(row) == KEYS
        assert row["name"] in table
        assert all(isinstance(row[key], float) and row[key] > 0 for key in NUMBERS)
        assert all(isinstance(row[key], int) for key in ("temp_bytes", "opponent_temp_bytes"))
        assert isinstance(row["torch_ms"], float | None)
        assert row["matmul_share"] is None
        assert row["memory_ratio"] == 1.0
    assert len({(row["name"], row["opponent"]) for row in rows}) == len(rows)


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
