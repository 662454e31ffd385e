"""The main job as its user runs it: results, resuming, interrupting, killing, mistakes."""

import contextlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from experiments.common import errors, interruption
from experiments.train import job as main_job
from experiments.train.checkpoint import Checkpoints
from experiments.train.lockstep import Lockstep
from tests.experiments.train.test_checkpoint import files_up_to

ROOT = Path(__file__).parents[3]
SMALL = ["--widths", "64", "8", "10", "--epochs", "4"]


def command(*arguments):
    """The main job's command line."""
    return [sys.executable, "-m", "experiments.train", *map(str, arguments)]


def process(*arguments):
    """Run the main job as its user does, fully optimised."""
    return subprocess.run(
        command(*arguments), cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )


def environment():
    """The user's environment: our programs, which are kept, are not optimised."""
    ours = ("XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR")
    return {k: v for k, v in os.environ.items() if k not in ours}


class Done(NamedTuple):
    """What a job left: as `subprocess.CompletedProcess`."""

    returncode: Any
    stdout: str
    stderr: str


def run_job(*arguments):
    """Run the main job in this process without its picture, which takes longer than a short run."""
    with mock.patch.object(main_job.picture, "draw"):
        return drawn_job(*arguments)


def drawn_job(*arguments):
    """Run the main job in this process, which has compiled and imported most of it already."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["train", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
        pytest.raises(SystemExit) as caught,
    ):
        errors.run(main_job.main)
    jax.config.update("jax_enable_x64", True)
    return Done(caught.value.code, out.getvalue(), err.getvalue())


class Trained(NamedTuple):
    """A run that went without a word of complaint: its folder, and what it said."""

    folder: Path
    stdout: str


def trained_in(folder, *arguments):
    """Run the main job in a folder to its end."""
    done = drawn_job("--out", folder, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return Trained(folder, done.stdout)


def figures(folder):
    """The JSON a run has written."""
    return json.loads((folder / "metrics.json").read_text())


def params(folder):
    """The arrays of the last checkpoint of a run, by their names."""
    checkpoints = Checkpoints(folder / "checkpoints")
    path = checkpoints.folder / str(checkpoints.numbers()[0]) / "states"
    with warnings.catch_warnings(action="ignore"):
        states = ocp.PyTreeCheckpointer().restore(path)
    return {jax.tree_util.keystr(k): np.asarray(v) for k, v in jax.tree_util.tree_leaves_with_path(states)}


def same(a, b):
    """Whether two runs have bit-identical states."""
    a, b = params(a), params(b)
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_default_job(tmp_path):
    done = drawn_job("--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    found = figures(tmp_path / "run")
    for engine in ("manual", "autodiff"):
        assert found["engines"][engine]["test_accuracy"] >= 0.97
        assert found["engines"][engine]["us_per_step"] > 0
        assert np.isfinite(found["engines"][engine]["test_loss"])
    assert found["max_gradient_difference"] < 1e-5
    assert found["parameter_distance"] < 1e-3
    assert len(found["history"]) == 30
    assert (tmp_path / "run" / "picture.png").read_bytes()[:4] == b"\x89PNG"
    assert "30/30" in done.stdout
    assert "test accuracy 97." in done.stdout
    assert str(tmp_path / "run" / "picture.png") in done.stdout


@pytest.mark.slow
def test_default_job_as_its_user_runs_it(tmp_path):
    done = process("--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert 0 < figures(tmp_path / "run")["max_gradient_difference"] < 1e-5
    assert all(e["test_accuracy"] >= 0.97 for e in figures(tmp_path / "run")["engines"].values())


def test_resumed_run_is_bit_identical(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    constant = [*SMALL, "--schedule", "constant", "--dtype", "float64"]
    assert run_job("--out", whole, *constant).returncode == 0
    assert run_job("--out", parts, *constant, "--epochs", 2).returncode == 0
    done = run_job("--out", parts, *constant, "--resume")
    assert done.returncode == 0, done.stderr
    assert same(whole, parts)
    assert figures(parts)["epochs_done"] == 4
    for key in ("test_loss", "train_loss"):
        of = [[e["engines"]["manual"][key] for e in figures(f)["history"]] for f in (whole, parts)]
        assert of[0] == of[1]
    assert figures(whole)["max_gradient_difference"] < 1e-13

    def refused(*arguments):
        done = run_job("--out", parts, *constant, "--resume", *arguments)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        return done.stderr

    assert "its seed was 0, now it is 1" in refused("--seed", 1)
    assert "--epochs was 3; the checkpoint has 4 epochs already" in refused("--epochs", 3)
    for number in (4, 3):
        record = parts / "checkpoints" / str(number) / "record.json"
        text = record.read_text()
        record.write_text(text[:20])
        if number == 4:
            done = run_job("--out", parts, *constant, "--resume")
            assert (done.returncode, done.stderr.count("\n")) == (0, 1), done.stderr
            assert f"{parts / 'checkpoints' / '4'} is damaged" in done.stderr
            assert "going on from epoch 3" in done.stderr
            assert same(whole, parts)
            (parts / "checkpoints" / "4" / "record.json").write_text(text[:20])
    assert "There is no complete checkpoint to resume from: " in refused()


def wait_for_epochs(process, folder, count):
    """Wait until a running job has kept `count` checkpoints."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        numbers = [int(p.name) for p in (folder / "checkpoints").glob("*") if p.name.isdigit()]
        if max(numbers, default=0) >= count:
            return
        time.sleep(0.01)
    raise AssertionError(f"no checkpoint {count}; exit code {process.poll()}")


@pytest.mark.parametrize(
    "how", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGKILL], ids=lambda how: how.name
)
def test_interrupted_or_killed_run_goes_on_as_if_nothing_had_been(how, tmp_path):
    settings = ["--widths", 64, 8, 10, "--epochs", 8, "--engine", "manual"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert run_job("--out", whole, *settings).returncode == 0
    running = subprocess.Popen(
        command("--out", cut, *settings),
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for_epochs(running, cut, 3)
    running.send_signal(how)
    output, error = running.communicate(timeout=60)
    if how == signal.SIGINT:
        assert running.returncode == 130, error
        assert "Traceback" not in error
        assert "--resume goes on" in output
        done_so_far = figures(cut)
        assert done_so_far["interrupted"]
        assert 3 <= done_so_far["epochs_done"] < 8
    resumed = run_job("--out", cut, *settings, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert same(whole, cut)
    assert figures(cut)["epochs_done"] == 8
    assert not list(cut.glob(".*part*"))


KILLS = 20


@pytest.mark.slow
def test_run_killed_at_twenty_random_moments_goes_on_as_if_nothing_had_been(tmp_path):
    rng, kills = random.Random(0), 0
    settings = ["--widths", 64, 8, 10, "--epochs", 400, "--engine", "manual"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert process("--out", whole, *settings).returncode == 0
    while kills < KILLS:
        kept = Checkpoints(cut / "checkpoints").numbers() if (cut / "checkpoints").exists() else []
        again = ["--resume"] if kept else []
        running = subprocess.Popen(
            command("--out", cut, *settings, *again), cwd=ROOT,
            env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        wait_for_epochs(running, cut, (kept or [0])[0] + 1)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(timeout=rng.uniform(0, 0.7))
        running.kill()
        _, error = running.communicate()
        assert error == ""
        kills += 1
        if Checkpoints(cut / "checkpoints").numbers()[0] == 400:
            break
    done = process("--out", cut, *settings, "--resume")
    assert (done.returncode, done.stderr) == (0, "")
    assert same(whole, cut)
    assert kills >= KILLS / 2
    losses = [[r["engines"]["manual"]["test_loss"] for r in figures(f)["history"]] for f in (whole, cut)]
    assert losses[0] == losses[1]


BAD = {
    "widths input": (["--widths", 63, 10], "--widths was 63 10; the first must be 64, the data's features"),
    "widths output": (["--widths", 64, 9], "with 9 outputs. The training label of example"),
    "one width": (["--widths", 64], "--widths was 64; expected two positive widths or more"),
    "batch": (["--batch-size", 2000], "--batch-size was 2000; the training data has only 1437 examples"),
    "no batch": (["--batch-size", 0], "--batch-size was 0; expected at least 1"),
    "epochs": (["--epochs", 0], "--epochs was 0; expected at least 1"),
    "learning rate": (
        ["--learning-rate", "nan"],
        "--learning-rate was nan; expected a number",
    ),
    "weight decay": (["--weight-decay", -1], "--weight-decay was -1; expected at least 0"),
    "seed": (["--seed", -1], "--seed was -1; expected at least 0"),
    "optimizer": (["--optimizer", "adm"], "--optimizer was 'adm'; did you mean 'adam'"),
    "activation": (["--activation", "relou"], "--activation was 'relou'; did you mean 'relu'"),
    "loss": (["--loss", "squard_error"], "--loss was 'squard_error'; did you mean 'squared_error'"),
    "engine": (["--engine", "autograd"], "--engine was 'autograd'; did you mean 'autodiff'"),
    "model": (["--model", "mpl"], "--model was 'mpl'; did you mean 'mlp'"),
    "dtype": (["--dtype", "float23"], "--dtype was 'float23'; did you mean 'float32'"),
    "initializer": (["--initializer", "glorott"], "--initializer was 'glorott'; did you mean 'glorot'"),
    "schedule": (["--schedule", "cosin"], "--schedule was 'cosin'; did you mean 'cosine'"),
    "resume what": (["--resume"], "--resume needs --out"),
    "both": (["--resume", "--overwrite"], "--resume and --overwrite exclude each other"),
    "rates rule": (["--rates", "fast"], "--rates was 'fast'; expected uniform, inverse_fan_in"),
    "rates file": (["--rates", "none.npz"], "--rates: none.npz cannot be read"),
    "rates layers": (["--rates", "layers:1"], "--rates has 1 numbers; the model has 2 layers"),
    "rates numbers": (["--rates", "layers:1,x"], "--rates was layers:1,x; expected numbers"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_settings_are_told_in_one_sentence(name, tmp_path):
    arguments, message = BAD[name]
    out = [] if name == "resume what" else ["--out", tmp_path / "run"]
    done = run_job(*arguments, *out)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("*.*"))


def test_folders_are_not_overwritten_by_accident(tmp_path):
    (tmp_path / "metrics.json").write_text("mine")
    assert "already holds a run; add --resume" in run_job("--out", tmp_path).stderr
    assert "has no checkpoint to resume from" in run_job("--out", tmp_path, "--resume").stderr
    assert "metrics.json is not a folder" in run_job("--out", tmp_path / "metrics.json" / "x").stderr
    assert (tmp_path / "metrics.json").read_text() == "mine"


def test_script_says_one_sentence_and_exits_with_2(tmp_path):
    done = process("--out", tmp_path / "run", "--optimizer", "sdg")
    assert done.returncode == 2
    assert done.stderr.startswith("error: --optimizer was 'sdg'; did you mean 'sgd'?")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def strict(folder):
    """The figures of a run, if they are JSON as everybody reads it."""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    return json.loads((folder / "metrics.json").read_text(), parse_constant=refuse)


SGD = ["--optimizer", "sgd", "--learning-rate", 1e30, "--engine", "manual"]
DIVERGED = {
    "in the first epoch": ([*SMALL, *SGD], 1, "manual's train loss is not finite"),
    "in the last step": (["--batch-size", 1437, "--epochs", 1, *SGD], 1, "manual's test loss is not finite"),
    "after some epochs": (
        [*SMALL, *SGD, "--learning-rate", 1e8, "--batch-size", 1437, "--schedule", "constant"],
        None,
        "not finite",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DIVERGED)
def test_diverged_run_says_so_and_keeps_what_was_done(name, tmp_path):
    settings, epoch, what = DIVERGED[name]
    done = drawn_job("--out", tmp_path, *settings)
    assert (done.returncode, done.stderr) == (1, "")
    found = strict(tmp_path)
    number = found["diverged"]
    assert number == epoch if epoch else number > 1
    assert f"Training diverged in epoch {number}: " in done.stdout
    assert what in done.stdout
    assert "try a smaller --learning-rate" in done.stdout.lower()
    assert found["epochs_done"] == number - 1
    assert len(found["history"]) == number
    assert None in found["history"][-1]["engines"]["manual"].values()
    assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"
    assert all(np.isfinite(leaf).all() for leaf in params(tmp_path).values()) if number > 1 else True
    numbers = {path.name for path in (tmp_path / "checkpoints").iterdir() if path.is_dir()}
    assert numbers == ({str(n) for n in range(max(1, number - 2), number)})


def test_params_that_overflow_in_the_last_step_are_not_kept(tmp_path):
    def overflow(self, number):
        record = run_round(self, number)
        for name, state in self.states.items():
            params = jax.tree.map(lambda p: p.at[(0,) * p.ndim].set(np.inf), state.params)
            self.states[name] = state._replace(params=params)
        return record

    run_round = Lockstep.run_round
    with mock.patch.object(Lockstep, "run_round", overflow):
        done = run_job("--out", tmp_path, *SMALL, "--engine", "manual")
    assert done.returncode == 1
    assert "Training diverged in epoch 1: a param of manual is not finite." in done.stdout
    assert not [path for path in (tmp_path / "checkpoints").iterdir() if path.is_dir()]


@pytest.mark.parametrize(("fault", "at"), [("full", 1), ("full", 3), ("gone", 3)])
def test_a_save_that_fails_is_one_sentence_and_what_was_kept_stays(fault, at, tmp_path):
    def failing(self, number, *args):
        if number == at and fault == "gone":
            run.rename(tmp_path / "away")
            run.mkdir()
        with files_up_to(500) if number == at and fault == "full" else contextlib.nullcontext():
            save(self, number, *args)

    run, save = tmp_path / "run", Checkpoints.save
    settings = [*SMALL, "--engine", "manual"]
    with mock.patch.object(Checkpoints, "save", failing):
        done = run_job("--out", run, *settings)
    reason = "File too large" if fault == "full" else "No such file or directory"
    assert done.returncode == 2
    assert done.stderr == f"error: {run / 'checkpoints' / str(at)} cannot be written: {reason}.\n"
    assert (run / "metrics.json").exists() == (at > 1)
    if at > 1:
        assert figures(run)["epochs_done"] == 2
    if fault == "full":
        again = run_job("--out", run, *settings, *(["--resume"] if at > 1 else []))
        assert again.returncode == 0, again.stderr
        assert [record["epoch"] for record in figures(run)["history"]] == [1, 2, 3, 4]
        assert {path.name for path in (run / "checkpoints").iterdir()} == {"3", "4", "history.jsonl"}


@pytest.mark.slow
@pytest.mark.parametrize("size", [*range(250, 4000, 250), *range(4000, 60_000, 4000)])  # joblib warns below
def test_a_process_with_a_limit_on_its_files_says_one_sentence(size, tmp_path):
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n"
    job = "from experiments.common import errors; from experiments.train import job; errors.run(job.main)"
    done = subprocess.run(
        [sys.executable, "-c", limit + job, "--out", str(tmp_path / "run"), "--epochs", "8"],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_ctrl_c_in_the_loop_ends_it_after_the_round(tmp_path):
    def asked(self, number):
        if number == 2:
            interruption.heed(signal.SIGTERM)
        return run_round(self, number)

    run_round = Lockstep.run_round
    with mock.patch.object(Lockstep, "run_round", asked):
        done = run_job("--out", tmp_path, *SMALL)
    assert (done.returncode, done.stderr) == (128 + signal.SIGTERM, "")
    assert f"Interrupted with 2 epochs left; --out {tmp_path} --resume goes on." in done.stdout
    assert (figures(tmp_path)["epochs_done"], figures(tmp_path)["interrupted"]) == (2, True)


def test_the_closing_speed_is_the_median_after_the_first_epoch(tmp_path):
    for epochs, said in (
        (1, "that of epoch 1, which warms up"),
        (3, "the median of epochs 2 to 3"),
    ):
        done = run_job("--out", tmp_path / str(epochs), "--widths", 64, 10, "--epochs", epochs)
        assert f"The time per step is {said}" in done.stdout
        found = figures(tmp_path / str(epochs))
        for engine, closing in found["engines"].items():
            each = [record["engines"][engine]["us_per_step"] for record in found["history"]]
            assert closing["us_per_step"] == np.median(each[1:] or each)
            assert f"{engine}: test accuracy" in done.stdout
    assert "the engines take turns at going first" in done.stdout


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(
            ["--loss", "squared_error", "--output-activation", "sigmoid", "--optimizer", "momentum"],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["--loss", "sigmoid_cross_entropy", "--dtype", "bfloat16", "--rates", "inverse_fan_in"],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["--loss", "huber", "--activation", "gelu", "--initializer", "near_zero", "--engine", "autodiff"],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            ["--optimizer", "lion", "--learning-rate", 1e-3, "--rates", "layers:0,1"], marks=pytest.mark.slow
        ),
    ],
)
def test_other_settings_learn(tmp_path, settings):
    done = run_job("--out", tmp_path, "--widths", 64, 30, 10, "--epochs", 4, *settings)
    assert done.returncode == 0, done.stderr
    last = figures(tmp_path)["engines"]
    first = figures(tmp_path)["history"][0]["engines"]
    assert all(last[e]["train_loss"] < first[e]["train_loss"] for e in last)
    assert {str(leaf.dtype) for leaf in params(tmp_path).values()} <= {"float32", "int32"}  # beside bfloat16


@pytest.fixture
def heeds_ctrl_c():
    """The usual handler: what a shell runs in the background ignores the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_outside_the_loop_exits_with_130(capsys):
    def main():
        signal.raise_signal(signal.SIGINT)
        time.sleep(1)
        return 0

    with pytest.raises(SystemExit) as caught:
        errors.run(main)
    assert caught.value.code == 130
    assert capsys.readouterr().err == "Interrupted.\n"


@pytest.mark.slow
def test_mnist_reaches_its_accuracy(tmp_path):
    done = run_job("--data", "mnist", "--widths", 784, 100, 10, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert all(e["test_accuracy"] >= 0.978 for e in figures(tmp_path)["engines"].values())
