"""The picture of a run shows what there is: one round, and numbers that are not finite, without a warning."""

import io
from unittest import mock

import numpy as np
import pytest

from experiments.train import picture
from experiments.train.parts import FEW
from experiments.train.recipe import ACCURACY, LOSS

SHOWN = {"test_loss": LOSS, "test_accuracy": ACCURACY}


def drawn(rounds, parts=2, value=0.5):
    """The axes of the picture of some rounds that are all alike."""
    figures = {"train_loss": value, "test_loss": value, "test_accuracy": value}
    by_part = [value] * parts
    record = {"engines": dict.fromkeys(picture.STYLES, figures), "gradient_norm": by_part,
              "gradient_difference": by_part}  # fmt: skip
    history = [record | {"epoch": number} for number in range(1, rounds + 1)]
    names = [f"layers.{i}" for i in range(parts)]
    with mock.patch.object(picture.plt, "close"):
        picture.draw(io.BytesIO(), history, title="", unit="epoch", shown=SHOWN, parts=names, dtype="float32")
        figure = picture.plt.gcf()
    picture.plt.close(figure)
    return figure.axes[:4]


@pytest.mark.parametrize("rounds", [1, 2, 30])
def test_few_rounds_are_marked(rounds):
    for axes in drawn(rounds):
        lines = [line for line in axes.lines if line.get_color() != "grey"]  # that of rounding
        assert len(lines) >= 2
        assert all((line.get_marker() == "o") == (rounds <= 5) for line in lines)


def test_both_engines_are_seen_where_they_agree():
    axes = drawn(1)[1]
    manual, autodiff = axes.lines
    assert manual.get_markersize() > autodiff.get_markersize()
    assert all(tick == int(tick) for tick in axes.get_xticks())


@pytest.mark.parametrize("parts", [2, FEW + 1])
@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_what_is_not_finite_is_no_trouble(value, parts):
    assert len(drawn(1, parts, value)) == 4
