"""The time that a check takes: its limit, and a line on a terminal that says what is being done."""

import sys
import time

QUIET = 1.0
"""Seconds before anything is shown: most checks are over by then."""

WIDTH = 79
"""Columns of the line."""


class Clock:
    """Started with a check; with a limit in seconds or without."""

    def __init__(self, limit: float | None = None):
        self.limit, self.start, self.shown = limit, time.monotonic(), False

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.monotonic() - self.start

    @property
    def over(self) -> bool:
        """Whether the limit is reached."""
        return self.limit is not None and self.seconds >= self.limit

    def show(self, doing: str) -> None:
        """Say what is being done, on a terminal, in one line that is written over."""
        if self.seconds > QUIET and sys.stderr.isatty():
            text = f"verify: {doing} ({self.seconds:.0f} s)"
            print(f"\r{text[:WIDTH]:{WIDTH}}", end="", file=sys.stderr, flush=True)
            self.shown = True

    def clear(self) -> None:
        """Remove the line."""
        if self.shown:
            print(f"\r{'':{WIDTH}}\r", end="", file=sys.stderr, flush=True)
            self.shown = False
