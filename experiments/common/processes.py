"""Processes that work together: they end together, and who ended first is told with its last lines.

A process of `jax.distributed` catches SIGTERM, and so outlives `terminate` and a `timeout` around it; one
that waits for another in a collective waits for ever, or until it gives up minutes later. So all are killed
when one of them ends with an error, when the time is over, and when this process is asked to end. They know
that it is gone, however it went, by the pipe that is their standard input: see `end_with_the_launcher`.
"""

import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from experiments.common import interruption
from experiments.common.errors import UserError

LINES = 5
"""The last lines of a process that are told."""

ABOUT_TRACEBACKS = ("For simplicity, JAX has removed", "-----")
"""How lines begin that JAX adds to every error."""

PAUSE = 0.05
"""Seconds between two looks at the processes."""

GRACE = 5
"""Seconds in which processes that need each other may end, after one of them has."""

CRASHED, LEFT_ALONE = 70, 75
"""Exit codes of a process with an error of the program's, and of one that only lost another."""

FOLLOWING = (LEFT_ALONE, -signal.SIGABRT)
"""How processes end for whom another has ended: the latter is what the library in C++ does."""


def run(commands: Sequence[Sequence[str]], *, env: Mapping[str, str], limit: float) -> list[str]:
    """Run commands at once, and return what each printed; a `UserError` says which ended badly.

    `limit` is in seconds, for all of them together.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = [(Path(folder) / f"{i}.out", Path(folder) / f"{i}.err") for i in range(len(commands))]
        with _all_killed() as running:
            for command, (out, err) in zip(commands, files, strict=True):
                with out.open("wb") as stdout, err.open("wb") as stderr:
                    running.append(
                        subprocess.Popen(
                            command, env=dict(env), stdin=subprocess.PIPE, stdout=stdout, stderr=stderr
                        )
                    )
            _wait(running, [err for _, err in files], time.monotonic() + limit, limit)
        return [out.read_text(encoding="utf-8", errors="replace") for out, _ in files]


def lead(commands: Sequence[Sequence[str]], *, env: Mapping[str, str]) -> int:
    """Run commands at once, of which the first talks to the user, and return its exit code.

    It gets the signals that this process gets; a second one ends all. A `UserError` says which process ended
    badly, if that is not what the first has said itself.
    """
    running: list[subprocess.Popen[bytes]] = []

    def kill() -> None:
        for process in running:
            process.kill()

    with (
        tempfile.TemporaryDirectory() as folder,
        interruption.leaving(kill),
        interruption.deferred(),
    ):
        errors = [Path(folder) / f"{i}.err" for i in range(len(commands))]
        for i, command in enumerate(commands):
            with errors[i].open("wb") as stderr:
                running.append(
                    subprocess.Popen(
                        command, env=dict(env), stdin=subprocess.PIPE, stderr=stderr,
                        stdout=subprocess.DEVNULL if i else None,
                        process_group=0,  # Ctrl-C is of the terminal's group, and comes here alone
                    )
                )  # fmt: skip
        try:
            code = _led(running, errors)
        finally:
            kill()
            for process in running:
                process.wait()
            if os.isatty(1):
                os.write(1, b"\x1b[?25h")  # the cursor, which a progress bar hides
        interruption.take()
        os.write(2, errors[0].read_bytes())
        return code


def _led(running: list[subprocess.Popen[bytes]], errors: list[Path]) -> int:
    """The exit code of the first process, when all have ended or had the time to."""
    asked, deadline = False, None
    while True:
        codes = [process.poll() for process in running]
        for i, code in enumerate(codes):
            if code is not None and code < 0 and code != -signal.SIGABRT:  # nobody's own doing
                raise _badly(i, codes, errors)
        if any(code is not None for code in codes):
            deadline = deadline or time.monotonic() + GRACE
        has_spoken = codes[0] not in (None, 0, CRASHED, *FOLLOWING)
        if has_spoken or None not in codes or (deadline and time.monotonic() > deadline):
            break
        if interruption.requested() and not asked:
            asked = True
            running[0].send_signal(interruption.number())
        time.sleep(PAUSE)
    first = codes[0]
    if first is not None and (has_spoken or not any(codes)):
        return first
    order = sorted(range(len(codes)), key=lambda i: (codes[i] in (None, 0), codes[i] in FOLLOWING, i))
    raise _badly(order[0], codes, errors)


def _badly(i: int, codes: list[int | None], errors: list[Path]) -> UserError:
    ended = "did not end" if codes[i] is None else _ended(codes[i] or 0)
    return UserError(f"process {i} of {len(codes)} {ended}: {_last_lines(errors[i])}")


def on_cpu(*flags: str) -> dict[str, str]:
    """The environment for processes on the CPU, whose number of devices these flags of XLA may say."""
    others = re.sub(r"--xla_force_host_platform_device_count=\d+", "", os.environ.get("XLA_FLAGS", ""))
    return {**os.environ, "XLA_FLAGS": " ".join((*flags, others)), "JAX_PLATFORMS": "cpu"}


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def demand_port(port: int) -> None:
    """Raise `UserError` if somebody listens at a port of this machine."""
    with socket.socket() as wanted:
        wanted.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            wanted.bind(("127.0.0.1", port))
        except OSError:
            raise UserError(f"port {port} is taken; name another, or none for one that is free.") from None


def end_with_the_launcher() -> None:
    """In a process that `run` started: end when the one that started it does."""

    def wait() -> None:
        while os.read(0, 1024):  # not by sys.stdin, which Python locks when it ends
            pass
        os._exit(1)

    threading.Thread(target=wait, name="launcher", daemon=True).start()


@contextmanager
def _all_killed() -> Iterator[list[subprocess.Popen[bytes]]]:
    """A list of processes, none of which is left: not by an error, and not by a signal to end."""
    running: list[subprocess.Popen[bytes]] = []

    def kill() -> None:
        for process in running:
            process.kill()
        for process in running:
            process.wait()

    def asked(number: int, frame: object) -> None:
        kill()
        interruption.end(number)

    is_main = threading.current_thread() is threading.main_thread()
    before = {n: signal.signal(n, asked) for n in (signal.SIGTERM, signal.SIGINT)} if is_main else {}
    try:
        yield running
    finally:
        kill()
        for number, handler in before.items():
            signal.signal(number, handler)
        for process in running:
            if process.stdin:
                process.stdin.close()


def _wait(running: list[subprocess.Popen[bytes]], errors: list[Path], deadline: float, limit: float) -> None:
    """Until all have ended well; an error says who did not."""
    while True:
        codes = [process.poll() for process in running]
        for i, code in enumerate(codes):
            if code:
                raise UserError(f"process {i} of {len(running)} {_ended(code)}: {_last_lines(errors[i])}")
        if None not in codes:
            return
        if time.monotonic() > deadline:
            late = ", ".join(str(i) for i, code in enumerate(codes) if code is None)
            first = codes.index(None)
            raise UserError(
                f"after {limit:g} seconds these of {len(running)} processes had not ended: {late}; "
                f"the last of {first}: {_last_lines(errors[first])}"
            )
        time.sleep(PAUSE)


def _ended(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"


def _last_lines(path: Path) -> str:
    """The end of what a process said, in one line."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    said = [line.strip() for line in lines if line.strip() and not line.startswith(ABOUT_TRACEBACKS)]
    return " | ".join(said[-LINES:]) or "it said nothing"
