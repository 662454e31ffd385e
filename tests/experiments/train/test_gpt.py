"""A decoder of text from the command line: both engines alike, samples, speed, presets, what is decayed."""

import functools
import shlex
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jax_ref
from experiments.common import command_line
from experiments.data import text
from experiments.train import corpus, optimizers
from experiments.train.engines import ENGINES
from experiments.train.models import gpt
from tests.experiments.train.test_job import figures, run_job, same, trained_in

LINES = "the quick brown fox jumps\nover the lazy dog; né? " * 25
SMALL = shlex.split("--model gpt --layers 2 --width 8 --heads 2 --window 6 --batch-size 3 --round-steps 2")
EXACT = [*SMALL, "--epochs", "2", "--dtype", "float64", "--schedule", "constant", "--warmup-steps", "1"]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "own.txt"
    path.write_text(LINES, encoding="utf-8")
    return path


@pytest.fixture
def promoted():
    """As a job has it: Optax promotes dtypes."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def trained(file, tmp_path_factory):
    return trained_in(tmp_path_factory.mktemp("trained"), "--text", file, *EXACT)


def test_both_engines_train_alike(trained):
    found = figures(trained.folder)
    assert found["parts"] == ["embedding", "positions", "blocks.0", "blocks.1", "norm"]
    assert found["max_gradient_difference"] < 1e-12
    assert found["parameter_distance"] < 1e-10
    samples = [record["sample"] for record in found["history"]]
    assert all(len(s) == gpt.SAMPLED and set(s) <= set(LINES) for s in samples)
    assert len(set(samples)) == 2
    last = found["engines"]["manual"]
    assert last["tokens_per_second"] == pytest.approx(1e6 * 18 / last["us_per_step"])
    assert "matmul_share" not in last, "the peak is one of float32"
    assert f"{last['tokens_per_second']:,.0f} tokens per second" in trained.stdout


@pytest.mark.slow
def test_it_goes_on_from_its_checkpoint(file, trained, tmp_path):
    where = ["--out", tmp_path, "--text", file]
    assert run_job(*where, *EXACT, "--epochs", 1).returncode == 0
    resumed = run_job(*where, *EXACT, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert same(trained.folder, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        "--form llama --key-heads 1 --tokens bytes --dropout 0.1 --keep inputs",
        "--dtype bfloat16",
        "--dtype float16 --dropout 0.1 --keep all",
        "--optimizer lion --warmup-steps 0",
    ],
)
def test_other_settings_learn(more, file, tmp_path):
    given = [*SMALL, "--round-steps", 30, "--epochs", 3, *shlex.split(more)]
    done = run_job("--out", tmp_path, "--text", file, *given)
    assert done.returncode == 0, done.stderr
    found = figures(tmp_path)
    first, *_, last = found["history"]
    assert all(last["engines"][e]["train_loss"] < first["engines"][e]["train_loss"] for e in last["engines"])


@pytest.mark.slow
def test_three_hundred_steps_in_float64_end_at_the_same_params(file, tmp_path):
    given = [*SMALL, "--round-steps", 100, "--epochs", 3, "--dtype", "float64", "--batch-size", 8]
    assert run_job("--out", tmp_path, "--text", file, *given).returncode == 0
    found = figures(tmp_path)
    assert found["parameter_distance"] < 1e-8
    assert found["max_gradient_difference"] < 1e-10
    losses = [found["engines"][engine]["validation_loss"] for engine in ("manual", "autodiff")]
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)


def small(**more) -> Any:
    """The recipe of a small network on the lines, and their parts."""
    settings = gpt.Settings(layers=1, width=8, heads=2, window=6, dtype="float64", **more)
    dataset = corpus.of(text.of(LINES, "it"), gpt.EVALUATED)
    return gpt.recipe(settings, dataset), dataset


def test_held_out_loss_is_that_of_windows_with_an_empty_context(monkeypatch):
    monkeypatch.setattr(gpt, "AT_ONCE", 24)
    recipe, dataset = small()
    params, ids = recipe.init(jax.random.key(1)), dataset.test["validation"]
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        model = ENGINES["manual"](recipe).model(params, None)
        found = jax.jit(lambda parts: recipe.metrics(model, parts))({"validation": jnp.asarray(ids)})
    windows = (len(ids) - 1) // 6
    here, following = (np.reshape(part[: windows * 6], (windows, 6)) for part in (ids[:-1], ids[1:]))
    loss = functools.partial(jax_ref.models.gpt.loss, heads=2)
    expected = loss(params, (jnp.asarray(here), jnp.asarray(following)))
    assert float(found["validation_loss"]) == pytest.approx(float(expected), rel=1e-12)


def test_windows_are_drawn_anywhere_with_a_key_for_dropout_alone():
    recipe, dataset = small()
    ids = recipe.arrays(dataset.train)
    last = recipe.count(ids) - 1
    here, following = recipe.batch(ids, jnp.array([0, last]), jax.random.key(0))
    assert np.array_equal(here[0], ids[:6])
    assert np.array_equal(following[1], ids[-6:])
    assert np.array_equal(here[:, 1:], following[:, :-1])
    *_, key = small(dropout=0.1)[0].batch(ids, jnp.array([0]), jax.random.key(0))
    assert key == jax.random.key(0)


@pytest.mark.usefixtures("promoted")
def test_weights_and_tables_are_decayed_and_gains_are_not():
    recipe, _ = small()
    params = jax.tree.map(jnp.ones_like, recipe.init(jax.random.key(0)))
    optimizer = optimizers.build(
        "adamw", 1.0, schedule="constant", steps=9, weight_decay=0.5, rates=None, decayed=recipe.decayed
    )
    nothing = jax.tree.map(jnp.zeros_like, params)
    updates: Any = optimizer.update(nothing, optimizer.init(params), params)[0]
    moved: Any = optax.apply_updates(params, updates)
    assert np.all(moved.embedding.table == 0.5)
    assert np.all(moved.blocks.mlp.up.w == 0.5)
    assert np.all(moved.blocks.norm1.g == 1)
    assert np.all(moved.norm.g == 1)


@pytest.mark.usefixtures("promoted")
def test_the_learning_rate_rises_and_then_falls():
    optimizer = optimizers.build(
        "sgd", 1.0, schedule="cosine", steps=20, weight_decay=0.0, rates=None, warmup_steps=4
    )
    state, rates = optimizer.init(jnp.zeros(1)), []
    for _ in range(20):
        update, state = optimizer.update(jnp.ones(1), state)
        rates.append(-float(jnp.asarray(update)[0]))
    expected = optax.warmup_cosine_decay_schedule(0.0, 1.0, 4, 20)
    assert rates == pytest.approx([float(jnp.asarray(expected(step))) for step in range(20)], abs=1e-6)


def test_a_preset_gives_what_was_not_given():
    def read(*args):
        return command_line.parse(gpt.Settings, prog="it", description="it", args=args)

    assert read("--preset", "nanogpt-cpu").layers == 4
    chosen = read("--layers", "3", "--preset", "nanogpt-cpu")
    assert (chosen.layers, chosen.width, chosen.epochs, chosen.round_steps) == (3, 128, 4, 500)
    assert read().layers == gpt.Settings().layers


def test_bytes_are_those_of_the_text_and_are_shown_as_text():
    whole = text.in_bytes(text.of(LINES, "it"))
    octets = b"".join(bytes(map(ord, (whole.characters[n] for n in part))) for part in whole[1:])
    assert octets == LINES.encode()
    assert whole.shown(np.concatenate(whole[1:])) == LINES
    cut = [number for number, c in enumerate(whole.characters) if ord(c) == "é".encode()[0]]
    assert whole.shown(np.array(cut)) == "\ufffd"


BAD = {
    "heads": (["--heads", 3], "--heads was 3; expected a number that divides the 8 of --width"),
    "key heads": (["--key-heads", 3], "--key-heads was 3; expected a number that divides the 2 of --heads"),
    "odd": (["--heads", 8, "--form", "llama"], "--heads was 8; expected an even share of the 8 of --width"),
    "window": (
        ["--window", 5000],
        "--window was 5000; the training text has only 1103 tokens, expected more",
    ),
    "warm-up": (["--warmup-steps", 2, "--epochs", 1], "--warmup-steps was 2; the run has only 2 steps"),
    "preset": (["--preset", "nanogpt"], "--preset was 'nanogpt'; did you mean 'nanogpt-cpu'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_settings_are_told_in_one_sentence(name, file, tmp_path):
    arguments, message = BAD[name]
    done = run_job("--out", tmp_path / "run", "--text", file, *SMALL, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
    assert not (tmp_path / "run").exists()
