"""Silence of Orbax and TensorStore about a failure that is told in a sentence of ours."""

import logging
import sys
import warnings
from typing import Any

import absl.logging

LATE = "Event loop is closed"
"""What Python says of each write that ends when another has already failed."""


UNSTARTED = "coroutine .* was never awaited"
"""What it says of each write that had not begun by then."""


def hush() -> None:
    """Drop what they log, and what their threads say when nobody waits for them any more."""
    absl.logging.set_verbosity(absl.logging.FATAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # of each failed write that nobody asked about
    warnings.filterwarnings("ignore", UNSTARTED, RuntimeWarning)
    say = sys.unraisablehook

    def say_unless_late(unraisable: Any) -> None:
        if str(unraisable.exc_value) != LATE:
            say(unraisable)

    sys.unraisablehook = say_unless_late
