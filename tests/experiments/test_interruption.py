"""Ctrl-C and SIGTERM at any moment: one sentence, the exit code of the signal, no traceback."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.common import commands, interruption

ROOT = Path(__file__).parents[2]
STATUS = Path("/proc/self/status")


def start(*command):
    """Start a command and wait until it heeds SIGTERM: before its own first line Python is alone."""
    process = subprocess.Popen(
        [sys.executable, *map(str, command)], cwd=ROOT,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        status = Path(f"/proc/{process.pid}/status").read_text()
        caught = re.search(r"^SigCgt:\s*(\w+)", status, flags=re.M)
        if caught and int(caught[1], 16) >> (signal.SIGTERM - 1) & 1:
            return process
        time.sleep(0.002)
    raise AssertionError("the command does not heed SIGTERM")


def ended(process, number):
    """Check that a process ended as a signal asks for, with one sentence."""
    process.wait(timeout=60)
    out, err = process.communicate()
    assert process.returncode == 128 + number, err
    assert err == {signal.SIGINT: "Interrupted.\n", signal.SIGTERM: "Terminated.\n"}[number]
    return out


pytestmark = pytest.mark.skipif(not STATUS.exists(), reason="what a process heeds is read from /proc")


@pytest.mark.parametrize("name", commands.questions())
def test_every_command_heeds_ctrl_c_from_its_first_line(name):
    process = start("-m", f"experiments.{name}", "--help")
    process.send_signal(signal.SIGINT)
    assert ended(process, signal.SIGINT) == ""


DELAYS = [0.0, 0.3, 1.0]


@pytest.mark.parametrize(
    ("delay", "number"),
    [
        *((delay, signal.SIGINT) for delay in DELAYS),
        (0.5, signal.SIGTERM),
        *(pytest.param(delay / 2, signal.SIGINT, marks=pytest.mark.slow) for delay in range(20)),
    ],
)
def test_the_job_is_interrupted_while_it_imports_and_compiles(delay, number, tmp_path):
    process = start("-m", "experiments.train", "--epochs", 100_000, "--out", tmp_path / "run")
    time.sleep(delay)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    if "Interrupted with" in out:  # it was fast, and is in its loop
        assert err == ""
        assert (tmp_path / "run" / "metrics.json").exists()
    else:
        assert err == {signal.SIGINT: "Interrupted.\n", signal.SIGTERM: "Terminated.\n"}[number]
        assert not (tmp_path / "run").exists()


PROGRAM = """
import sys, time
from experiments.common import interruption
interruption.install()
{}
"""


def run(body):
    """Start a program that heeds the signals, and wait until it says that it is ready."""
    process = start("-c", PROGRAM.format(body))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


DEFERRED = """
with interruption.leaving(lambda: print("left", flush=True)):
    with interruption.deferred():
        print("ready", flush=True)
        input()
        print("kept", interruption.requested(), flush=True)
        {}
    print("unreachable unless taken", flush=True)
"""


def test_where_work_would_be_lost_it_waits():
    process = run(DEFERRED.format(""))
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert process.poll() is None
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert ended(process, signal.SIGINT) == "kept True\nleft\n"


def test_the_second_ends_it_at_once():
    process = run(DEFERRED.format(""))
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert ended(process, signal.SIGINT) == "left\n"


def test_a_request_that_is_taken_is_answered_by_the_program():
    process = run(DEFERRED.format("sys.exit(100 + interruption.take())"))
    process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    out, err = process.communicate("\n", timeout=60)
    assert (process.returncode, out, err) == (100 + signal.SIGTERM, "kept True\nleft\n", "")


def test_it_ends_while_the_main_thread_is_busy_elsewhere():
    process = run(
        "import hashlib\nprint('ready', flush=True)\nhashlib.pbkdf2_hmac('sha256', b'', b'', 10**8)"
    )
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    ended(process, signal.SIGINT)
    assert time.monotonic() - began < 30


def test_who_imports_a_command_keeps_his_handlers():
    handlers = [signal.getsignal(number) for number in interruption.SENTENCES]
    assert interruption.__name__ not in {getattr(handler, "__module__", None) for handler in handlers}
