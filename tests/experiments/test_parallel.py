"""The study of many devices: what it refuses, what it reads of a program, and processes that are killed."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.common import processes, study, team
from experiments.common.errors import UserError
from experiments.parallel import STUDY, measure, wire

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (
            "--processes 5 --model mlp --kinds tensor",
            "--processes 5 --devices-per-process 1: --kinds tensor needs hidden features (48) to divide by "
            "5.",
        ),
        (
            "--processes 3 --kinds tensor",
            "--processes 3 --devices-per-process 1: --kinds tensor needs heads (4) to divide by 3.",
        ),
        (
            "--model mlp --kinds sequence",
            "--kinds sequence needs another model than mlp, which allows data, fsdp, tensor, pipeline, "
            "private.",
        ),
        ("--kinds tensr", "--kinds was 'tensr'; did you mean 'tensor'?"),
        ("--processes 0", "--processes was 0; expected at least 1"),
        ("--model mpl", "--model was 'mpl'; did you mean 'mlp'?"),
    ],
)
def test_what_cannot_be(args, sentence, tmp_path):
    with pytest.raises(UserError, match=re.escape(sentence)):
        study.run(STUDY, [*args.split(), "--out", str(tmp_path / "out")])


PROGRAM = """
HloModule jit_step, is_scheduled=true

%body.1 (p: (s32[], f32[4,8])) -> (s32[], f32[4,8]) {
  %gathered = f32[16,8]{1,0} all-gather(%x), channel_id=1, replica_groups=[1,4]<=[4], dimensions={0}
  %part = bf16[1,8]{1,0} reduce-scatter(%y), channel_id=2, replica_groups=[2,2]<=[2,2]T(1,0), dimensions={0}
}

%condition.1 (p: (s32[], f32[4,8])) -> pred[] {
  %less = pred[] compare(%i, %n), direction=LT
}

%branch (p: f32[8]) -> f32[8] {
  %there = s8[8]{0} collective-permute(%q), channel_id=5, source_target_pairs={{0,1},{1,0}}
}

ENTRY %main (a: f32[4,8]) -> f32[4,8] {
  %loop = (s32[], f32[4,8]) while(%t), condition=%condition.1, body=%body.1, TURNS
  %sum = (f64[5]{0}, f64[]) all-reduce(%a, %b), channel_id=3, replica_groups={{0,2},{1,3}}, to_apply=%add
  %all = u16[4,6]{1,0} all-to-all(%c), channel_id=4, replica_groups=mesh['d'=2,'m'=2] {'m'}, dimensions={0}
  %alone = f32[8]{0} all-reduce(%a), channel_id=6, replica_groups={{0},{1},{2},{3}}, to_apply=%add
  %either = f32[8]{0} conditional(%k, %a, %b), branch_computations={%branch, %branch}
  %whole = f32[8]{0} all-reduce-start(%a), channel_id=7, replica_groups={}, to_apply=%add
}
""".replace("TURNS", 'backend_config={"known_trip_count":{"n":"3"}}')


def test_what_is_read_of_a_program():
    assert wire.sent(PROGRAM, 4) == [
        wire.Sent("all-gather", "f32", 4, 3 / 4 * 16 * 8 * 4, 3),
        wire.Sent("reduce-scatter", "bf16", 2, 8 * 2, 3),
        wire.Sent("all-reduce", "f64", 2, 6 * 8, 1),
        wire.Sent("all-to-all", "u16", 2, 1 / 2 * 24 * 2, 1),
        wire.Sent("collective-permute", "s8", 4, 8, 1),
        wire.Sent("collective-permute", "s8", 4, 8, 1),
        wire.Sent("all-reduce", "f32", 4, 2 * 3 / 4 * 32, 1),
    ]
    assert wire.counts(wire.sent(PROGRAM, 4))["all-gather"] == 3
    assert wire.total(wire.sent(PROGRAM, 4)) == 3 * (384 + 16) + 48 + 24 + 16 + 48


def command(*args):
    return [sys.executable, "-m", "experiments.parallel", *args]


@pytest.mark.slow
@pytest.mark.parametrize("args", ["--processes 4", "--processes 1 --devices-per-process 3 --model mlp"])
def test_every_kind_in_processes_of_their_own(args, tmp_path):
    done = subprocess.run(
        command(*args.split(), "--out", str(tmp_path / "out")), cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "out" / "metrics.json").read_text())
    named = {"data", "fsdp", "tensor", "pipeline"}
    assert set(figures["kinds"]) == (named | {"private"} if "mlp" in args else named | {"sequence"})
    for kind in figures["kinds"].values():
        assert kind["error"] <= 1e-12
        assert kind["sides"]["hand"]["bytes"] > 0


@pytest.mark.slow
def test_one_that_is_killed_ends_the_others(tmp_path):
    started = subprocess.Popen(
        command("--processes", "4", "--out", str(tmp_path / "out")),
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip

    def workers():
        listed = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text()
        return [int(pid) for pid in listed.split()]

    while len(workers()) < 4:
        time.sleep(0.1)
    time.sleep(8)  # they import and compile
    pids = workers()
    os.kill(pids[2], signal.SIGKILL)
    begun = time.monotonic()
    _, said = started.communicate(timeout=60)
    assert time.monotonic() - begun < 10
    assert started.returncode == 2
    assert said.splitlines()[-1].startswith("error: process 2 of 4 was killed by SIGKILL: ")
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.mark.slow
def test_two_that_are_started_by_hand(tmp_path):
    where = ["--coordinator", f"127.0.0.1:{processes.free_port()}", "--processes", "2"]
    what = ["--model", "mlp", "--kinds", "data", "--out", str(tmp_path / "out")]
    both = [
        subprocess.Popen(
            command(*where, "--process-id", str(i), *what),
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for i in (1, 0)
    ]  # fmt: skip
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert said[0] == ("", "")
    figures = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert figures["devices"] == 2
    assert figures["kinds"]["data"]["error"] <= 1e-12


def test_where_processes_meet():
    def place(*args):
        return measure.place(study.parse(STUDY, args))

    assert place("--processes", "2") is None
    assert place("--coordinator", "here:1", "--processes", "2", "--process-id", "1") == ("here:1", 2, 1)
    with pytest.raises(UserError, match="--coordinator needs --processes and --process-id too"):
        place("--coordinator", "here:1")


@pytest.mark.parametrize(
    ("variables", "found"),
    [
        ({"SLURM_JOB_ID": "1", "SLURM_NTASKS": "2"}, None),
        (dict.fromkeys(team.CLUSTERS["SLURM"], "1"), None),
        (dict.fromkeys(team.CLUSTERS["SLURM"], "2"), "SLURM"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, None),
        (dict.fromkeys(team.CLUSTERS["Kubernetes"], "0"), "Kubernetes"),
    ],
)
def test_a_cluster_is_known_by_its_variables(variables, found):
    assert team.cluster(variables) == found
