"""`checks` in a process of its own with four devices, whose number is fixed when JAX starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHECKS = sorted(str(path.relative_to(ROOT)) for path in Path(__file__).parent.glob("checks/on_*.py"))
FOUR_DEVICES = "--xla_force_host_platform_device_count=4"


@pytest.mark.parametrize("extent", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_all_checks_hold_on_four_devices(extent):
    worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n0", "-q", "-m", extent, "--durations=10", *CHECKS],
        cwd=ROOT,
        env={
            **os.environ,
            "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} {FOUR_DEVICES}",
            "PYTEST_XDIST_WORKER": f"{worker}-on-four-devices",  # a folder of its own for compiled programs
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
