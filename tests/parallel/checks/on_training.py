"""The main job whose model is split over four devices: the losses of one device, and what is sent a step."""

import functools
import itertools
import shlex

import pytest

from tests.experiments.train.test_job import figures, run_job

EXACT = "--dtype float64 --optimizer momentum --round-steps 25 --epochs 2 --schedule constant"
"""Of an optimiser that sees how large a gradient is, as Adam's does not."""
TEXT = "the quick brown fox jumps\nover the lazy dog; né? " * 25

MODELS = {
    "mlp": "--widths 64 8 10 --clip-norm 0.5",
    "gpt": "--layers 2 --width 8 --heads 4 --window 6 --batch-size 4 --warmup-steps 5",
    "llama": "--form llama --layers 2 --width 8 --heads 4 --window 6 --batch-size 4 --warmup-steps 5 "
    "--keep inputs",
    "recurrent": "--widths 5 7 --window 6 --batch-size 4",
    "convnet": "--widths 3 --batch-size 8 --round-steps 4",
    "convnet without norm": "--widths 3 --norm none --batch-size 8 --round-steps 4",
}


def run(model, folder, *more):
    text = folder / "own.txt"
    text.write_text(TEXT, encoding="utf-8")
    of_text = ["--text", text] if model in ("gpt", "llama", "recurrent") else []
    name = {"llama": "gpt", "convnet without norm": "convnet"}.get(model, model)
    options = shlex.split(f"--model {name} {EXACT} {MODELS[model]}")
    done = run_job("--out", folder / "run", *options, *of_text, *more)
    assert (done.returncode, done.stderr) == (0, "")
    return figures(folder / "run")


def losses(found):
    return [
        [engine[name] for engine in record["engines"].values() for name in ("train_loss", "test_loss")]
        for record in found["history"]
    ]


CASES = [*itertools.product(MODELS, ("data", "fsdp")), ("gpt", "tensor"), ("llama", "tensor")]


@pytest.fixture(scope="module")
def on_one_device(tmp_path_factory):
    """The figures of a model on one device, each made once."""
    return functools.cache(lambda model: run(model, tmp_path_factory.mktemp(model)))


@pytest.mark.slow
@pytest.mark.parametrize(("model", "split"), CASES)
def test_the_losses_are_those_of_one_device(model, split, on_one_device, tmp_path):
    one, many = on_one_device(model), run(model, tmp_path, "--split", split)
    assert many["max_gradient_difference"] < 1e-12
    for a, b in zip(losses(one), losses(many), strict=True):
        assert a == pytest.approx(b, rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "split"), [("mlp", "fsdp"), ("mlp", "data"), ("gpt", "tensor")])
def test_a_batch_in_parts_has_the_losses_of_one_device(model, split, on_one_device, tmp_path):
    """A part of a batch is on all devices, and each adds to the same sums."""
    one, many = on_one_device(model), run(model, tmp_path, "--split", split, "--microbatches", "2")
    assert many["max_gradient_difference"] < 1e-12
    for a, b in zip(losses(one), losses(many), strict=True):
        assert a == pytest.approx(b, rel=1e-12)


def test_a_batch_that_four_devices_cannot_share():
    done = run_job(*shlex.split("--widths 64 8 10 --split data --batch-size 6"))
    sentence = "error: --batch-size was 6; expected a number that divides by the 4 devices.\n"
    assert (done.returncode, done.stderr) == (2, sentence)
