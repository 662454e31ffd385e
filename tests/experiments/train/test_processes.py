"""The main job on several processes: what one has, that all end together, and that any number goes on."""

import json
import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from experiments.common import processes
from tests.experiments.train.test_job import ROOT, command, environment, figures, run_job

EXACT = shlex.split(
    "--widths 64 8 10 --optimizer momentum --dtype float64 --round-steps 25 --schedule constant"
)


def started(folder, *arguments, variables=None):
    return subprocess.Popen(
        command("--out", folder, *EXACT, *arguments),
        cwd=ROOT, env={**environment(), "XLA_FLAGS": os.environ["XLA_FLAGS"], **(variables or {})}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def run(folder, *arguments):
    """Run the job to its end, and return what it said."""
    done = started(folder, *arguments)
    out, err = done.communicate(timeout=300)
    assert (done.returncode, err) == (0, "")
    return out


def losses(folder):
    return [
        [engine[name] for engine in record["engines"].values() for name in ("train_loss", "test_loss")]
        for record in figures(folder)["history"]
    ]


def assert_as_one(folder, rounds, tmp_path):
    """The losses of so many rounds are those of one process."""
    done = run_job("--out", tmp_path / "one", *EXACT, "--epochs", rounds)
    assert done.returncode == 0, done.stderr
    assert len(losses(folder)) == rounds
    for a, b in zip(losses(folder), losses(tmp_path / "one"), strict=True):
        assert a == pytest.approx(b, rel=1e-12)


def test_two_processes_train_as_one(tmp_path):
    said = run(tmp_path / "two", "--processes", 2, "--epochs", 2)
    assert_as_one(tmp_path / "two", 2, tmp_path)
    assert figures(tmp_path / "two")["max_gradient_difference"] < 1e-12
    assert len(re.findall("^round ", said, re.M)) == 1, "one table"
    assert len(re.findall("^Figures: ", said, re.M)) == 1
    assert "Gloo" not in said


REFUSED = {
    "--processes 0": "--processes was 0; expected at least 1 and at most 65536.",
    "--processes 3": "--batch-size was 32; expected a number that divides by the 3 devices.",
    "--processes 2 --split tensor": "--split tensor is not for mlp: it can be data, fsdp.",
    "--processes 2 --split dta": "--split was 'dta'; did you mean 'data'? It can be data, fsdp, tensor.",
    "--model convnet --processes 2 --microbatches 2": (
        "--split data is not for convnet with --norm batch_norm and --microbatches 2: it cannot be split at "
        "all."
    ),
    "--model gpt --processes 2 --split fsdp --dropout 0.1 --keep all": (
        "--split fsdp is not for gpt with --dropout 0.1 and --keep all: it can be data."
    ),
    "--coordinator here --processes 2 --process-id 0": (
        "--coordinator was here; expected HOST:PORT of the first process."
    ),
    "--coordinator here:1": "--coordinator needs --processes and --process-id too.",
    "--coordinator here:1 --processes 2 --process-id 2": (
        "--process-id was 2; expected less than the 2 of --processes, as they are counted from 0."
    ),
    "--processes 2 --process-id 1": "--process-id needs --coordinator, where the processes meet.",
}


@pytest.mark.parametrize("arguments", REFUSED)
def test_what_is_refused_before_any_process_starts(arguments):
    done = run_job(*shlex.split(arguments))
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {REFUSED[arguments]}\n")


@pytest.mark.slow
def test_what_the_first_process_refuses_is_said_once(tmp_path):
    (tmp_path / "file").write_text("")
    done = started(tmp_path / "file", "--processes", 2)
    out, err = done.communicate(timeout=120)
    assert done.returncode == 2
    assert (out, err) == ("", f"error: --out {tmp_path}/file cannot be written: it is not a folder.\n")


@pytest.mark.slow
def test_any_number_of_processes_goes_on_and_a_damaged_checkpoint_is_passed_over(tmp_path):
    folder = tmp_path / "run"
    run(folder, "--processes", 2, "--split", "fsdp", "--epochs", 1)
    done = run_job("--out", folder, *EXACT, "--epochs", 2, "--resume")  # one process
    assert done.returncode == 0, done.stderr
    run(folder, "--processes", 4, "--split", "fsdp", "--epochs", 3, "--resume")
    record = folder / "checkpoints" / "3" / "record.json"
    record.write_bytes(record.read_bytes()[:-9])
    again = started(folder, "--processes", 2, "--epochs", 4, "--resume")
    _, err = again.communicate(timeout=120)
    assert again.returncode == 0, err
    assert len(err.splitlines()) == 1
    assert err.startswith(f"{folder}/checkpoints/3 is damaged (record.json cannot be read: ")
    assert err.endswith("; going on from round 2.\n")
    assert_as_one(folder, 4, tmp_path)


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def last(folder):
    """The number of the last checkpoint, and the checksum of the bits of its arrays."""
    number = max(int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit())
    return number, json.loads((folder / "checkpoints" / str(number) / "record.json").read_text())["states"]


def wait_for_round(started, folder, number, seconds=90):
    """Until the checkpoint of a round is there, or of a later one."""
    end = time.monotonic() + seconds
    while not any((folder / "checkpoints" / str(n)).exists() for n in range(number, number + 50)):
        assert started.poll() is None, started.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 2])
def test_one_that_is_killed_ends_the_others_and_the_run_goes_on_as_if_nothing_had_been(which, tmp_path):
    begun = started(tmp_path / "run", "--processes", 4, "--epochs", 500)
    wait_for_round(begun, tmp_path / "run", 2)
    pids = children(begun.pid)
    assert len(pids) == 4
    os.kill(pids[which], signal.SIGKILL)
    at = time.monotonic()
    _, err = begun.communicate(timeout=60)
    assert time.monotonic() - at < 15
    assert begun.returncode == 2
    assert err == f"error: process {which} of 4 was killed by SIGKILL: it said nothing\n"
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    rounds = last(tmp_path / "run")[0] + 1
    run(tmp_path / "run", "--processes", 4, "--epochs", rounds, "--resume")
    run(tmp_path / "whole", "--processes", 4, "--epochs", rounds)
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")
    assert last(tmp_path / "run") == last(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_after_the_round(how, tmp_path):
    begun = started(tmp_path / "run", "--processes", 2, "--epochs", 500)
    wait_for_round(begun, tmp_path / "run", 1)
    pids = children(begun.pid)
    begun.send_signal(how)
    out, err = begun.communicate(timeout=60)
    assert (begun.returncode, err) == (128 + how, "")
    assert re.search(r"Interrupted with \d+ rounds left; --out .* --resume goes on\.", out)
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert figures(tmp_path / "run")["interrupted"]


@pytest.mark.slow
def test_two_that_are_started_by_hand(tmp_path):
    where = ["--coordinator", f"127.0.0.1:{processes.free_port()}", "--processes", 2, "--epochs", 2]
    both = [started(tmp_path / "run", *where, "--process-id", i) for i in (1, 0)]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert said[0] == ("", "")
    assert "Figures: " in said[1][0]
    assert_as_one(tmp_path / "run", 2, tmp_path)


@pytest.mark.slow
def test_two_that_slurm_has_started(tmp_path):
    job = {"SLURM_JOB_ID": str(time.monotonic_ns() % 10**6), "SLURM_STEP_NODELIST": "127.0.0.1"}
    job |= {"SLURM_NTASKS": "2", "SLURM_LOCALID": "0", "SLURM_STEP_NUM_NODES": "2"}
    both = [
        started(tmp_path / "run", "--epochs", 2, variables={**job, "SLURM_PROCID": str(i)}) for i in range(2)
    ]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert said[1] == ("", "")
    assert_as_one(tmp_path / "run", 2, tmp_path)


@pytest.mark.slow
def test_one_of_those_started_by_hand_is_killed(tmp_path):
    where = ["--coordinator", f"127.0.0.1:{processes.free_port()}", "--processes", 2, "--epochs", 500]
    both = [started(tmp_path / "run", *where, "--process-id", i) for i in range(2)]
    wait_for_round(both[0], tmp_path / "run", 1)
    both[1].kill()
    at = time.monotonic()
    _, err = both[0].communicate(timeout=60)
    both[1].communicate()
    assert time.monotonic() - at < 15
    assert both[0].returncode not in (None, 0)
    assert err.startswith("error: a process was lost: ")
