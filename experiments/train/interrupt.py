"""Ctrl-C between epochs: the first asks the loop to end, the second ends it at once."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Interruption:
    """Whether the user has asked to end."""

    requested = False


@contextmanager
def deferred() -> Iterator[Interruption]:
    """While open, the first Ctrl-C only sets `requested`: an epoch in flight owns the buffers of the
    state, which an exception in the middle of it would lose.
    """
    interruption = Interruption()

    def request(signum: int, frame: Any) -> None:
        interruption.requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, request)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, before)
