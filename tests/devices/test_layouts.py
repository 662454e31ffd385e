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


PARTS = 3


@pytest.mark.parametrize("extent", ["", pytest.param("all", marks=pytest.mark.slow)])
@pytest.mark.parametrize("part", range(PARTS))
def test_every_layout_has_the_gradient_of_one_device(part, extent):
    done = subprocess.run(
        [sys.executable, "-m", "tests.devices.layouts", str(part), *filter(None, [extent])],
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} {FOUR_DEVICES}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {key.partition(" ")[0] for key in found} == {*[*CASES, *MODELS][part::PARTS]}
    wrong = {key: error for key, error in found.items() if not (isinstance(error, float) and error <= 1e-12)}
    assert not wrong
