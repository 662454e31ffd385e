"""Training loop without a model of its own: throw-away models go through all of it, from the command line.

A model is one file in a folder of recipes. Those of this test lie beside it: one with a state, and one of
text, with stacked layers, noise in its batches, rounds of so many steps, and samples.
"""

import functools
import re
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import data
from experiments.train import models
from experiments.train.parts import mapped, parts
from tests.experiments.train.models import characters, running_mean
from tests.experiments.train.test_job import drawn_job, figures, params, run_job, same

MODELS = ["running_mean", "characters"]


@pytest.fixture(autouse=True, scope="module")
def _recipes():
    """The recipes beside this file are found as those of the project are."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(models, "__path__", [*models.__path__, str(Path(__file__).parent / "models")])
        yield


def asked(model, *more):
    """A command line on which two runs of a model are bit for bit the same."""
    return ["--model", model, "--dtype", "float64", "--schedule", "constant", *more]


class Trained(NamedTuple):
    """A run with both engines, and what it printed."""

    folder: Path
    stdout: str


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Each model by its name, trained when it is first asked for."""

    @functools.cache
    def of(model):
        folder = tmp_path_factory.mktemp(model)
        done = drawn_job("--out", folder, *asked(model))
        assert done.returncode == 0, done.stderr
        return Trained(folder, done.stdout)

    return of


@pytest.mark.parametrize("model", MODELS)
def test_both_engines_train_it_alike_and_it_is_shown(model, trained):
    found = figures(trained(model).folder)
    assert list(found["engines"]) == ["manual", "autodiff"]
    first, last = (found["history"][i]["engines"] for i in (0, -1))
    assert all(last[engine]["test_loss"] < first[engine]["test_loss"] for engine in last)
    assert found["max_gradient_difference"] < 1e-13
    assert found["parameter_distance"] < 1e-12
    assert len(found["history"][0]["gradient_norm"]) == len(found["parts"])
    assert (trained(model).folder / "picture.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("model", ["running_mean", pytest.param("characters", marks=pytest.mark.slow)])
def test_it_goes_on_from_its_checkpoint_as_if_nothing_had_been(model, trained, tmp_path):
    assert run_job("--out", tmp_path, *asked(model, "--epochs", 1)).returncode == 0
    resumed = run_job("--out", tmp_path, *asked(model, "--resume"))
    assert resumed.returncode == 0, resumed.stderr
    assert same(trained(model).folder, tmp_path)
    samples = [figures(f)["history"][-1].get("sample") for f in (trained(model).folder, tmp_path)]
    assert samples[0] == samples[1]


def test_the_state_is_what_the_batches_make_of_it(tmp_path):
    images = data.rows(data.digits.load()).train.x
    done = run_job("--out", tmp_path, "--model", "running_mean", "--engine", "manual", "--dtype", "float64",
               "--batch-size", len(images), "--epochs", 2)  # fmt: skip
    assert done.returncode == 0, done.stderr
    (mean,) = (value for name, value in params(tmp_path).items() if name.endswith("['model']"))
    keep = running_mean.MOMENTUM
    assert np.allclose(mean, (1 + keep) * (1 - keep) * images.mean(0), rtol=1e-12, atol=1e-15)


def test_text_has_samples_rounds_and_parts_by_layer(trained):
    folder, stdout = trained("characters")
    found = figures(folder)
    assert found["parts"] == ["embedding", *(f"blocks.{i}" for i in range(characters.LAYERS)), "head"]
    samples = [record["sample"] for record in found["history"]]
    assert all(len(text) == 40 and set(text) <= set(characters.LETTERS) for text in samples)
    assert samples[0] in stdout
    assert re.search(r"largest gradient .*\n.* difference", stdout)
    assert "round  " in stdout
    assert "rounds ━" in stdout
    assert "manual: test loss " in stdout


def test_rates_by_part(tmp_path):
    frozen = ",".join(["0"] * (characters.LAYERS + 1) + ["1"])
    done = run_job("--out", tmp_path, "--model", "characters", "--epochs", 1, "--rates", f"layers:{frozen}",
               "--weight-decay", 0, "--engine", "manual")  # fmt: skip
    assert done.returncode == 0, done.stderr
    wrong = run_job("--out", tmp_path / "x", "--model", "characters", "--rates", "layers:1,1")
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


def test_a_model_with_a_state_has_no_batch_in_parts(tmp_path):
    done = run_job("--out", tmp_path / "run", *asked("running_mean"), "--microbatches", "2")
    assert done.returncode == 2
    assert "--microbatches was 2; expected 1 for running_mean with these settings" in done.stderr
    assert not (tmp_path / "run").exists()
