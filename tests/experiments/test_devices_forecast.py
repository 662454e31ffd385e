"""The forecast of many devices: formulas by hand, what is refused, and compiled programs on 2, 4 and 8."""

import json
import os
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from experiments.common import study
from experiments.common.errors import UserError
from experiments.devices_forecast import STUDY, formulas, measure

ROOT = Path(__file__).parents[2]
MODEL = formulas.Model(layers=2, width=6, heads=3, keys=2, hidden=9, batch=4, times=5, microbatches=4)


def test_params_of_a_block():
    q, k, v, out = 6 * 6 + 6, 6 * 2 + 2, 6 * 2 + 2, 6 * 6 + 6
    assert MODEL.of_layer == q + k + v + out + (6 * 9 + 9) + (9 * 6 + 6) + 4 * 6


@pytest.mark.parametrize("kind", formulas.KINDS)
def test_one_device_sends_nothing_and_has_all(kind):
    needs = formulas.KINDS[kind](MODEL, 1)
    assert needs is not None
    assert needs.sent == 0
    assert needs.params == 2 * MODEL.of_layer
    tokens = 5 if kind == "pipeline" else 4 * 5
    assert needs.activations == 2 * tokens * formulas.of_token(MODEL)


def test_what_does_not_divide_is_none():
    found = {kind: [n for n in (2, 3, 4, 5) if of(MODEL, n)] for kind, of in formulas.KINDS.items()}
    assert found == {"data": [2, 4], "fsdp": [2, 4], "tensor": [], "sequence": [5], "pipeline": [2]}


def test_leaves_without_a_divisible_axis_are_whole_and_summed():
    needs = formulas.fsdp(MODEL, 4)  # 4 divides no axis of 6, 2 and 9
    assert needs is not None
    assert needs.params == 2 * MODEL.of_layer
    assert needs.sent == Fraction(6, 4) * (2 * MODEL.of_layer + 1)


def test_the_batch_of_all_devices(tmp_path):
    out = tmp_path / "run"
    args = f"--layers 4 --width 8 --heads 4 --context 8 --batch 3 --devices 2 4 3 --out {out}"
    assert study.run(STUDY, args.split()) == 0
    figures = json.loads((out / "metrics.json").read_text())
    of = formulas.Model(4, 8, 4, 8, 32, 3, 8, 128)
    data = formulas.data(of._replace(batch=12), 4)
    assert data is not None
    assert figures["kinds"]["data"][1]["activations"] == 4 * data.activations
    assert figures["kinds"]["tensor"][2] is None


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ("--heads 3", "--heads was 3; expected a number that divides the 4096 of --width."),
        ("--key-heads 7", "--key-heads was 7; expected a number that divides the 64 of --heads."),
        ("--devices 0", "--devices was 0; expected at least 1"),
    ],
)
def test_what_cannot_be(args, sentence, tmp_path):
    with pytest.raises(UserError, match=re.escape(sentence)):
        study.run(STUDY, [*args.split(), "--out", str(tmp_path / "out")])


def test_bytes_are_those_of_float32():
    assert measure.BYTES == 4
    one = measure._of("data", MODEL._replace(batch=1), 2)
    assert one is not None
    assert one["sent"] == 4 * (2 * MODEL.of_layer + 1)


@pytest.mark.slow
def test_on_two_four_and_eight_devices():
    done = subprocess.run(
        [sys.executable, "-m", "experiments.devices_forecast.compiled", "2", "4", "8"],
        cwd=ROOT,
        env={
            **os.environ,
            "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=8",
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found) == {"2", "4", "8"}
    for of_kinds in found.values():
        assert set(of_kinds) == set(formulas.KINDS)
        for quantities in of_kinds.values():
            for read, said in quantities.values():
                assert read == said
