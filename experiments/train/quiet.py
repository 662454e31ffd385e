"""Silence of Orbax and TensorStore about a failure that is told in a sentence of ours."""

import sys
from typing import Any

from absl import logging

LATE = "Event loop is closed"
"""What Python says of each write that ends when another has already failed."""


def hush() -> None:
    """Drop what they log, and what their threads say when nobody waits for them any more."""
    logging.set_verbosity(logging.FATAL)
    say = sys.unraisablehook

    def say_unless_late(unraisable: Any) -> None:
        if str(unraisable.exc_value) != LATE:
            say(unraisable)

    sys.unraisablehook = say_unless_late
