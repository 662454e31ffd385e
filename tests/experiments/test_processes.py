"""Processes that work together end together, whichever of them ends and however."""

import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from experiments.common import processes
from experiments.common.errors import UserError

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
ENV = {**os.environ, "PYTHONPATH": ROOT}


def python(code):
    return [sys.executable, "-S", "-c", code]


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"


def soon(holds, seconds=10):
    """Whether something holds within a time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.05)
    return False


def sleeping(folder):
    """A process that outlives SIGTERM, and writes its number to a file."""
    return (
        "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"open({str(folder / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    )


def number(folder):
    def is_there():
        return (folder / "pid").exists() and (folder / "pid").read_text()

    assert soon(is_there)
    return int((folder / "pid").read_text())


def test_what_each_printed():
    assert processes.run([python("print(1)"), python("print(2)")], env=ENV, limit=30) == ["1\n", "2\n"]


@pytest.mark.parametrize(
    ("end", "sentence"),
    [
        ("sys.exit(3)", "process 1 of 2 ended with code 3: the first line | the second line"),
        ("os.kill(os.getpid(), 9)", "process 1 of 2 was killed by SIGKILL: the first line | the second line"),
    ],
)
def test_one_that_ends_badly_ends_all(end, sentence, tmp_path):
    wait = f"import os, sys, time\nwhile not os.path.exists({str(tmp_path / 'pid')!r}): time.sleep(0.01)\n"
    talk = f"{wait}print('the first line\\n\\nthe second line', file=sys.stderr, flush=True)\n{end}"
    begun = time.monotonic()
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}$"):
        processes.run([python(sleeping(tmp_path)), python(talk)], env=ENV, limit=30)
    assert time.monotonic() - begun < 10
    assert not alive(number(tmp_path))


def test_the_time_is_over(tmp_path):
    sentence = "after 1.5 seconds these of 2 processes had not ended: 0; the last of 0: it said nothing"
    with pytest.raises(UserError, match=f"^{re.escape(sentence)}$"):
        processes.run([python(sleeping(tmp_path)), python("pass")], env=ENV, limit=1.5)
    assert not alive(number(tmp_path))


def launcher(child):
    code = (
        "import os, sys; from experiments.common import processes; "
        f"processes.run([[sys.executable, '-c', {child!r}]], env=os.environ, limit=60)"
    )
    return subprocess.Popen([sys.executable, "-c", code], env=ENV, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("asked", [signal.SIGTERM, signal.SIGINT])
def test_a_launcher_that_is_asked_to_end_leaves_nobody(asked, tmp_path):
    started = launcher(sleeping(tmp_path))
    pid = number(tmp_path)
    started.send_signal(asked)
    _, said = started.communicate(timeout=10)
    assert started.returncode == 128 + asked
    assert said in ("Terminated.\n", "Interrupted.\n")
    assert soon(lambda: not alive(pid))


def test_a_launcher_that_is_killed_leaves_nobody(tmp_path):
    child = "from experiments.common import processes; processes.end_with_the_launcher(); "
    started = launcher(child + sleeping(tmp_path))
    pid = number(tmp_path)
    assert alive(pid)
    started.kill()
    started.communicate()
    assert soon(lambda: not alive(pid))


def test_a_port_that_is_taken():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"^port {port} is taken; name another"):
            processes.demand_port(port)
    processes.demand_port(processes.free_port())
