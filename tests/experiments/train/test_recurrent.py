"""Text from the command line: contiguous streams, held-out loss in nats and bits, samples, n-grams."""

import functools
import math
import re
import shlex
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jax_ref
from experiments.data import text
from experiments.train import models, order
from experiments.train.engines import ENGINES
from experiments.train.models import recurrent
from tests.experiments.train.test_job import figures, run_job, same, trained_in

LINES = "the quick brown fox jumps\nover the lazy dog; " * 25
SMALL = shlex.split("--model recurrent --widths 3 4 --batch-size 5 --window 7 --round-steps 9 --epochs 3")
EXACT = [*SMALL, "--cell", "rnn", "--dtype", "float64", "--schedule", "constant", "--learning-rate", "0.05"]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "own.txt"
    path.write_text(LINES, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(file, tmp_path_factory):
    return trained_in(tmp_path_factory.mktemp("trained"), "--text", file, *EXACT)


def test_both_engines_learn_the_text_alike(trained):
    found = figures(trained.folder)
    assert found["parts"] == ["embedding", "layers.0", "head"]
    assert found["max_gradient_difference"] < 1e-13
    assert found["parameter_distance"] < 1e-12
    first, last = (found["history"][i]["engines"] for i in (0, -1))
    for engine in ("manual", "autodiff"):
        for part in ("validation", "test"):
            assert last[engine][f"{part}_loss"] < first[engine][f"{part}_loss"]
            assert last[engine][f"{part}_bits"] == pytest.approx(last[engine][f"{part}_loss"] / math.log(2))


def test_samples_and_n_grams_are_shown_and_kept(trained):
    found = figures(trained.folder)
    samples = [record["sample"] for record in found["history"]]
    assert all(len(s) == recurrent.SAMPLED and set(s) <= set(LINES) for s in samples)
    assert len(set(samples)) == 3
    assert all(s in trained.stdout for s in samples)
    bits = found["baselines"]["ngram_bits"]
    assert list(bits) == ["validation", "test"]
    assert all(list(of) == ["1", "3", "5"] for of in bits.values())
    assert re.search(r"n-gram models beside it: \d\.\d{4} for n = 1, ", trained.stdout)
    assert f"{bits['validation']['5']:.4f} for n = 5." in trained.stdout
    last = found["engines"]["manual"]
    assert f"manual: validation loss {last['validation_loss']:.4f} nats, " in trained.stdout


@pytest.mark.slow
def test_it_goes_on_from_its_checkpoint_with_the_state_it_had(file, trained, tmp_path):
    text = ["--out", tmp_path, "--text", file]
    assert run_job(*text, *EXACT, "--epochs", 1).returncode == 0
    resumed = run_job(*text, *EXACT, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert same(trained.folder, tmp_path)
    samples = [figures(f)["history"][-1]["sample"] for f in (trained.folder, tmp_path)]
    assert samples[0] == samples[1]


def small(**more):
    """The recipe of a small network on the lines, and their parts."""
    settings = recurrent.Settings(widths=(3, 4), batch_size=5, window=7, dtype="float64", **more)
    whole = text.of(LINES, "it")
    dataset = recurrent.Dataset(whole.train, {"validation": whole.validation, "test": whole.test}, whole)
    return recurrent.recipe(settings, dataset), dataset


def test_each_row_of_the_batches_is_a_stream_that_goes_on():
    recipe, dataset = small()
    ids, count = recipe.arrays(dataset.train), recipe.count(dataset.train)
    length = len(ids) // 5
    assert count == 5 * ((length - 1) // 7)
    windows = count // 5
    for steps in (None, 4):
        per_round = steps or windows
        rounds = [recipe.order(None, jnp.uint32(n), count, 5, steps) for n in range(1, 8)]
        with jax.numpy_dtype_promotion("standard"):
            batches = [recipe.batch(ids, rows, None) for rows in np.concatenate(rounds)]
        assert len(batches) == 7 * per_round
        for place, (here, following) in enumerate(batches):
            assert np.array_equal(here[:, 1:], following[:, :-1])
            start = place % windows * 7
            for stream in range(5):
                begin = stream * length + start
                assert np.array_equal(here[stream], ids[begin : begin + 7])
                assert following[stream, -1] == ids[begin + 7]


def test_shuffled_rows_are_every_row_once():
    rows = order.shuffled(jax.random.key(0), jnp.uint32(1), 23, 5, None)
    assert rows.shape == (4, 5)
    assert len(set(rows.ravel().tolist())) == 20


@pytest.mark.parametrize("cell", ["lstm", *(pytest.param(c, marks=pytest.mark.slow) for c in ("gru", "rnn"))])
def test_held_out_loss_is_that_of_streams_from_an_empty_state(cell, monkeypatch):
    monkeypatch.setattr(recurrent, "STREAMS", 3)
    monkeypatch.setattr(recurrent, "STRETCH", 4)
    recipe, dataset = small(cell=cell)
    params, ids = recipe.init(jax.random.key(1)), dataset.test["validation"]
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        model = ENGINES["manual"](recipe).model(params, None)
        found = jax.jit(lambda parts: recipe.metrics(model, parts))({"validation": jnp.asarray(ids)})
    total, stream = 0.0, 4 * -(-(len(ids) - 1) // 12)
    loss = jax.jit(functools.partial(jax_ref.models.recurrent.loss, cell=cell))
    for begin in range(0, len(ids) - 1, stream):
        here = jnp.asarray(ids[None, begin : begin + stream + 1])
        state = recurrent.recurrent.zero_state(1, (3, 4), cell=cell, dtype=jnp.float64)
        total += float(loss(params, state, (here[:, :-1], here[:, 1:]))[0]) * (here.size - 1)
    assert float(found["validation_loss"]) == pytest.approx(total / (len(ids) - 1), rel=1e-12)


BAD = {
    "no file": (["--text", "{folder}/none"], "--text {folder}/none cannot be read: No such file"),
    "folder": (["--text", "{folder}"], "cannot be read: it is a folder, expected a regular file"),
    "encoding": (["--text", "{folder}/latin"],
                 "--text {folder}/latin is not text in UTF-8: invalid continuation byte (byte 0xe9 at 3)"),
    "short": (["--text", "{folder}/short"],
              "--text {folder}/short has 4 characters; expected at least 40"),
    "window": (["--window", 1000],
               "--batch-size was 5 and --window 1000; the training text has only 1013 characters, "
               "expected at least 5005"),
    "widths": (["--widths", 3], "--widths was 3; expected that of a character and of a layer"),
    "cell": (["--cell", "lsmt"], "--cell was 'lsmt'; did you mean 'lstm'"),
    "data": (["--data", "digits"], "--data was 'digits'; it can be shakespeare"),
    "data dir": (["--data-dir", "{folder}"], "a text of your own is given by --text"),
    "clip": (["--clip-norm", 0], "--clip-norm was 0; expected at least"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_settings_are_told_in_one_sentence(name, file, tmp_path):
    (tmp_path / "latin").write_bytes("Café über".encode("latin-1"))
    (tmp_path / "short").write_text("abcd")
    arguments, message = BAD[name]
    given = [str(argument).format(folder=tmp_path) for argument in arguments]
    done = run_job("--out", tmp_path / "run", "--text", file, *SMALL, *given)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert message.format(folder=tmp_path) in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_texts_name_is_that_of_its_file():
    assert recurrent.Settings(text=Path("a/own\n.txt")).source == "own_"
    assert recurrent.Settings().source == "shakespeare"
    assert set(models.names()) >= {"mlp", "recurrent"}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_other_cells_and_narrow_dtypes_learn(cell, dtype, file, tmp_path):
    settings = [*SMALL, "--cell", cell, "--dtype", dtype, "--learning-rate", 0.02, "--widths", 3, 4, 4]
    done = run_job("--out", tmp_path, "--text", file, *settings)
    assert done.returncode == 0, done.stderr
    first, *_, last = figures(tmp_path)["history"]
    assert all(last["engines"][e]["train_loss"] < first["engines"][e]["train_loss"] for e in last["engines"])
