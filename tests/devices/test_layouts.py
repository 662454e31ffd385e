"""Every op on four devices: differentiated around `shard_map` and in it, on auto and on explicit meshes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cases import CASES, MODELS

ROOT = Path(__file__).parents[2]
FOUR_DEVICES = "--xla_force_host_platform_device_count=4"


PARTS = 2


def found_by(module, *args):
    """What the module, in a process of its own with four devices, prints."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.devices.{module}", *args],
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} {FOUR_DEVICES}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def wrong(found):
    """Where an error is too large, or something was raised."""
    return {key: error for key, error in found.items() if not (isinstance(error, float) and error <= 1e-12)}


@pytest.mark.parametrize("extent", ["", pytest.param("all", marks=pytest.mark.slow)])
@pytest.mark.parametrize("part", range(PARTS))
def test_every_layout_has_the_gradient_of_one_device(part, extent):
    found = found_by("layouts", str(part), *filter(None, [extent]))
    assert {key.partition(" ")[0] for key in found} == {*[*CASES, *MODELS][part::PARTS]}
    assert not wrong(found)


@pytest.mark.slow
def test_recurrent_ops_with_their_features_in_parts():
    found = found_by("recurrent_layouts")
    assert len(found) == 180
    assert not wrong(found)


@pytest.mark.slow
def test_attention_with_its_bias_in_other_parts_than_its_inputs():
    found = found_by("attention_layouts")
    assert len(found) == 81
    assert not wrong(found)
