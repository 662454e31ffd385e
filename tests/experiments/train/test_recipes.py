"""Training loop without a model of its own: throw-away models go through all of it, from the command line.

A model is one file in a folder of recipes. Those of this test lie beside it: one with a state, and one of
text, with stacked layers, noise in its batches, rounds of so many steps, and samples.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import data
from experiments.train import models
from experiments.train.parts import mapped, parts
from tests.experiments.train.models import characters, running_mean
from tests.experiments.train.test_job import figures, job, params, same

MODELS = ["running_mean", "characters"]

__all__ = ["job"]


@pytest.fixture(autouse=True)
def _recipes(monkeypatch):
    """The recipes beside this file are found as those of the project are."""
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(Path(__file__).parent / "models")])


every_model = pytest.mark.parametrize("model", MODELS)


def asked(model, *more):
    """A command line on which two runs of a model are bit for bit the same."""
    return ["--model", model, "--dtype", "float64", "--schedule", "constant", *more]


@every_model
def test_both_engines_train_it_alike_and_it_is_shown(model, tmp_path, job):
    done = job("--out", tmp_path, *asked(model))
    assert done.returncode == 0, done.stderr
    found = figures(tmp_path)
    assert list(found["engines"]) == ["manual", "autodiff"]
    first, last = (found["history"][i]["engines"] for i in (0, -1))
    assert all(last[engine]["test_loss"] < first[engine]["test_loss"] for engine in last)
    assert found["max_gradient_difference"] < 1e-13
    assert found["parameter_distance"] < 1e-12
    assert len(found["history"][0]["gradient_norm"]) == len(found["parts"])
    assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"


@every_model
def test_it_goes_on_from_its_checkpoint_as_if_nothing_had_been(model, tmp_path, job):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert job("--out", whole, *asked(model, "--epochs", 2)).returncode == 0
    assert job("--out", cut, *asked(model, "--epochs", 1)).returncode == 0
    resumed = job("--out", cut, *asked(model, "--epochs", 2, "--resume"))
    assert resumed.returncode == 0, resumed.stderr
    assert same(whole, cut)
    samples = [figures(folder)["history"][-1].get("sample") for folder in (whole, cut)]
    assert samples[0] == samples[1]


def test_the_state_is_what_the_batches_make_of_it(tmp_path, job):
    images = data.rows(data.digits.load()).train.x
    done = job("--out", tmp_path, "--model", "running_mean", "--engine", "manual", "--dtype", "float64",
               "--batch-size", len(images), "--epochs", 2)  # fmt: skip
    assert done.returncode == 0, done.stderr
    (mean,) = (value for name, value in params(tmp_path).items() if name.endswith("['model']"))
    keep = running_mean.MOMENTUM
    assert np.allclose(mean, (1 + keep) * (1 - keep) * images.mean(0), rtol=1e-12, atol=1e-15)


def test_text_has_samples_rounds_and_parts_by_layer(tmp_path, job):
    done = job("--out", tmp_path, "--model", "characters", "--epochs", 2)
    assert done.returncode == 0, done.stderr
    found = figures(tmp_path)
    assert found["parts"] == ["embedding", *(f"blocks.{i}" for i in range(characters.LAYERS)), "head"]
    samples = [record["sample"] for record in found["history"]]
    assert all(len(text) == 40 and set(text) <= set(characters.LETTERS) for text in samples)
    assert samples[0] in done.stdout
    assert "largest gradient difference" in done.stdout
    assert "round  " in done.stdout
    assert "rounds ━" in done.stdout
    assert "manual: test loss " in done.stdout


def test_rates_by_part(tmp_path, job):
    frozen = ",".join(["0"] * (characters.LAYERS + 1) + ["1"])
    done = job("--out", tmp_path, "--model", "characters", "--epochs", 1, "--rates", f"layers:{frozen}",
               "--weight-decay", 0, "--engine", "manual")  # fmt: skip
    assert done.returncode == 0, done.stderr
    wrong = job("--out", tmp_path / "x", "--model", "characters", "--rates", "layers:1,1")
    assert "--rates has 2 numbers; the model has 9 layers: embedding, blocks.0, " in wrong.stderr


def test_parts_of_fields_tuples_and_stacks():
    tree = characters.init(jax.random.key(0), jnp.float64)
    found = parts(tree, {"blocks"})
    assert found["blocks.2"].w.shape == (16, 16)

    def double(name, part):
        return jax.tree.map(lambda x: 2 * x, part) if name == "blocks.1" else part

    doubled = mapped(double, tree, {"blocks"})
    assert jax.tree.structure(doubled) == jax.tree.structure(tree)
    for name, part in parts(doubled, {"blocks"}).items():
        assert all(map(np.array_equal, jax.tree.leaves(part), jax.tree.leaves(double(name, found[name]))))
