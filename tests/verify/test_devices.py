"""The part "devices": the batch over four devices is the batch on one."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOUR_DEVICES = "--xla_force_host_platform_device_count=4"


def test_the_batch_over_devices_is_the_batch_on_one():
    done = subprocess.run(
        [sys.executable, "-m", "tests.verify.on_devices"],
        cwd=ROOT,
        env={**os.environ, "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} {FOUR_DEVICES}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for name in ("right", "float32"):
        findings, _, tried = found[name]
        assert findings == []
        assert "4 devices" in tried
    assert found["of the shard"][0][0].startswith(
        "[transform] x: it differs on 4 devices, by shard_map over the batch, and on one"
    )
    assert "raises under shard_map over 4 devices: ValueError: two rows" in found["raises"][0][0]
    findings, notes, tried = found["over the batch"]
    assert findings == []
    assert any("has it a statistic over the batch?" in note for note in notes)
    assert "devices" not in tried
    assert "devices" not in found["without a batch"][2]
    assert found["skipped"][0] == []
    assert "left out: devices (one is enough)" in found["skipped"][1]
