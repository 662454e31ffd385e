"""History of a run: a JSON line for each round, appended, so that a run of many rounds writes each once.

A checkpoint knows the mark up to which the file was written when it was made. What comes after the mark is of
rounds that were not kept, or of a line that a killed run did not finish.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, TypedDict

Records = list[dict[str, Any]]


class Mark(TypedDict):
    """A place in the file: how many bytes come before it, and their SHA-256 checksum."""

    bytes: int
    sha256: str


class History:
    """The file at `path`, to be added to from its start or from a mark on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written, self._checksum = 0, hashlib.sha256()

    def append(self, record: dict[str, Any]) -> Mark:
        """Add a round in place of whatever came after the last mark, and return the mark behind it."""
        line = json.dumps(record, allow_nan=False).encode() + b"\n"
        with open(self.path, "ab", opener=_no_link) as file:
            if file.tell() < self._written:
                raise OSError(f"{self.path.name} was cut by somebody else")
            file.truncate(self._written)
            file.write(line)
        self._written += len(line)
        self._checksum.update(line)
        return {"bytes": self._written, "sha256": self._checksum.hexdigest()}

    def go_back_to(self, mark: Mark) -> Records:
        """The rounds before the mark; `ValueError` if they are not what they were when it was made."""
        with open(self.path, "rb", opener=_no_link) as file:
            content = file.read(min(mark["bytes"], os.fstat(file.fileno()).st_size))
        checksum = hashlib.sha256(content)
        if checksum.hexdigest() != mark["sha256"]:
            raise ValueError(f"{self.path.name} is not what it was")
        self._written, self._checksum = len(content), checksum
        return [json.loads(line) for line in content.splitlines()]


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)
