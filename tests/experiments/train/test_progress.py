"""The table of a run: a line has 80 characters at most, and no word or number in it is broken."""

import pytest
from rich.console import Console

from experiments.train import progress
from experiments.train.recipe import ACCURACY, LOSS

ENGINE = {"test_loss": 12.345678, "test_accuracy": 0.98765, "us_per_step": 12345.6}


@pytest.mark.parametrize("parts", [1, 2, 3, 9])
@pytest.mark.parametrize("engines", [("manual", "autodiff"), ("manual",)])
def test_a_line_has_80_characters(engines, parts, monkeypatch):
    printed = []
    monkeypatch.setattr(progress, "say", lambda console, text, style=None: printed.append(text))
    pair = len(engines) == 2
    shown = {"test_loss": LOSS, "test_accuracy": ACCURACY}
    table = progress.Table(Console(), "epoch", engines, shown, [f"layers.{n}" for n in range(parts)])
    table.heading()
    table.row(
        {
            "epoch": 12345,
            "engines": dict.fromkeys(engines, ENGINE),
            "gradient_difference": [1.2e-8] * parts if pair else None,
            "parameter_distance": 1.2e-7,
        }
    )
    assert max(map(len, printed)) <= 80 + 2  # a loss of two digits before the point is wider by one in each
    *heading, row = printed
    title = " ".join(heading).split()
    wanted = [
        "epoch",
        "test",
        "loss",
        "accuracy",
        "µs/step",
        *(["gradient", "params", "apart"] if pair else []),
    ]
    assert set(wanted) <= set(title)
    assert row.split()[:1] == ["12345"]
    assert row.split().count("12346") == len(engines)
    assert row.split().count("1.2e-08") == (min(parts, 2) if pair and parts <= 2 else int(pair))
