"""Regular files opened for reading, and nothing else: a pipe or a device may let its reader wait for ever.

The file is looked at once it is open, so that no other can take its place in between. A link is followed.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

LONGEST = 300
"""Characters of a reason: what a spoiled file asks for may be a name of megabytes."""

_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
"""Open without waiting for whoever may write to a pipe, and without becoming the user of a terminal."""


def opened(path: Path) -> BinaryIO:
    """The file, open for reading; `OSError` if it is none or cannot be opened."""
    try:
        return open(path, "rb", opener=_opener)
    except ValueError as error:  # a name with a null character
        raise OSError(errno.EINVAL, str(error)) from None


def size(file: BinaryIO) -> int:
    """The length in bytes of an open file."""
    return os.fstat(file.fileno()).st_size


def reason(error: Exception) -> str:
    """Why a file could not be read: the first line, without the number and the path that Python adds."""
    said = (isinstance(error, OSError) and error.strerror) or str(error).strip() or type(error).__name__
    return said[:LONGEST].splitlines()[0].rstrip(".")


def _opener(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | _AT_ONCE)
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind != stat.S_IFREG:
        os.close(descriptor)
        raise OSError(errno.EINVAL, f"it is {KINDS.get(kind, 'no file')}, expected a regular file")
    return descriptor
