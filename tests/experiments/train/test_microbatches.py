"""Batches in parts: the same training in the memory of one of them."""

import numpy as np
import pytest

from experiments.train.settings import Settings, demand_shares
from tests.experiments.train.test_job import figures, params, run_job

OPTIONS = ["--widths", "64", "8", "10", "--epochs", "2", "--dtype", "float64", "--batch-size", "30"]


def test_parts_train_as_the_batch(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder, more in ((whole, []), (parts, ["--microbatches", "5"])):
        done = run_job("--out", folder, *OPTIONS, *more)
        assert done.returncode == 0, done.stderr
    one, other = params(whole), params(parts)
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_allclose(other[name], value, rtol=1e-8, atol=1e-10, err_msg=name)
    assert max(max(r["gradient_difference"]) for r in figures(parts)["history"]) < 1e-12


def test_a_batch_is_in_equal_parts(tmp_path):
    done = run_job("--out", tmp_path / "run", "--microbatches", "5")
    sentence = "--batch-size was 32; expected a number that divides by the 5 microbatches."
    assert (done.returncode, done.stderr.strip()) == (2, f"error: {sentence}")
    assert not (tmp_path / "run").exists()


def test_devices_and_parts_share_a_batch():
    settings = Settings(data="digits", model="mlp", batch_size=24, microbatches=3, split="data")
    demand_shares(settings, 4)
    with pytest.raises(Exception, match="divides by the 5 devices and the 3 microbatches"):
        demand_shares(settings, 5)
