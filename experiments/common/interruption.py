"""Ctrl-C and SIGTERM: a command ends at once with one sentence or, where work would be lost, once it is kept.

Python raises KeyboardInterrupt wherever it happens to be: in the middle of an import it is a traceback, in a
callback of compiled code it is lost, and a compiler may crash. Here the handler does nothing. Python writes
the number of the signal into a pipe, and a thread at its other end does the rest, also while the main thread
is in a compiler or in a program that takes minutes.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

SENTENCES = {signal.SIGINT: "Interrupted.", signal.SIGTERM: "Terminated."}

_lock = threading.Lock()
_leaving: list[Callable[[], object]] = []
_deferring = 0
_request: int | None = None


def install() -> None:
    """Heed the signals from now on; before all imports that take long."""
    out, into = os.pipe()
    os.set_blocking(into, False)
    signal.set_wakeup_fd(into, warn_on_full_buffer=False)
    handle()
    threading.Thread(target=_watch, args=(out,), name="signals", daemon=True).start()


def handle() -> None:
    """Have Python tell of the signals, whoever has handled them until now."""
    for number in SENTENCES:
        signal.signal(number, lambda number, frame: None)


@contextmanager
def deferred() -> Iterator[None]:
    """While open, the first signal is a request; the second ends the process at once.

    On leaving, a request that nobody has taken ends it too, unless an exception has something else to say.
    """
    global _deferring
    with _lock:
        _deferring += 1
    try:
        yield
    except BaseException:
        _leave()
        raise
    if (number := _leave()) is not None:
        end(number)


@contextmanager
def leaving(action: Callable[[], object]) -> Iterator[None]:
    """Do something on leaving, also if a signal ends the process meanwhile."""
    _leaving.append(action)
    try:
        yield
    finally:
        _leaving.remove(action)
        action()


def requested() -> bool:
    """Whether the process has been asked to end."""
    return _request is not None


def number() -> int:
    """The signal by which it has been asked, 0 if it has not been."""
    return _request or 0


def request(number: int) -> None:
    """Ask for the end as a signal does: for one that another process got."""
    global _request
    with _lock:
        _request = number


def take() -> int | None:
    """The signal by which it has been asked, which the caller now answers."""
    global _request
    with _lock:
        number, _request = _request, None
        return number


def heed(number: int) -> None:
    """Do what a signal asks for."""
    global _request
    with _lock:
        if _deferring and _request is None:
            _request = number
            return
    end(number)


def end(number: int) -> None:
    """Say that it was interrupted and end with 128 + the signal, without waiting for any thread."""
    for action in reversed(_leaving):
        with suppress(Exception):
            action()
    with suppress(OSError):
        if os.isatty(1):
            os.write(1, b"\x1b[?25h\n")  # the cursor, which a progress bar hides
        os.write(2, f"{SENTENCES[signal.Signals(number)]}\n".encode())
    os._exit(128 + number)


def _leave() -> int | None:
    """Close one `deferred`, and return the request that is left if it was the outermost."""
    global _deferring, _request
    with _lock:
        _deferring -= 1
        if _deferring:
            return None
        number, _request = _request, None
        return number


def _watch(pipe: int) -> None:
    while True:
        for number in os.read(pipe, 64):
            if number in set(SENTENCES):
                heed(number)
