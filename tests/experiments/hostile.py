"""What the tests of files share: spoiled bytes, what is no file, and limits of time and memory."""

import contextlib
import os
import random
import signal
import tracemalloc

import pytest


@contextlib.contextmanager
def within(seconds, megabytes):
    """Fail if what is done takes longer or allocates more."""

    def late(*_):
        pytest.fail(f"took longer than {seconds} seconds")  # no Exception, which a reader may catch

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert peak < megabytes * 1e6, f"allocated {peak / 1e6:.0f} MB"


def spoiled(content, seed, head=64):
    """The content with one or two changes, about half of them in its first bytes."""
    rng, changed = random.Random(seed), bytearray(content)
    for _ in range(rng.randint(1, 2)):
        end = min(head, len(changed)) if rng.random() < 0.5 else len(changed)
        at = rng.randrange(max(end, 1))
        kind = rng.choices(range(6), [8, 2, 1, 1, 1, 1])[0]
        if kind == 0:
            changed[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            changed[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"])
        elif kind == 2:
            changed[at : at + rng.randrange(1, 40)] = b""
        elif kind == 3:
            changed[at:at] = rng.randbytes(rng.randrange(1, 9))
        elif kind == 4:
            del changed[at:]
        else:
            changed += changed[at:]
    return bytes(changed)


def pipe(path):
    os.mkfifo(path)


def device(path):
    path.symlink_to("/dev/zero")


def folder(path):
    path.mkdir()


def nowhere(path):
    path.symlink_to(path.name + "-gone")


def circle(path):
    path.symlink_to(path.name)


NO_FILES = {
    pipe: "it is a pipe, expected a regular file",
    device: "it is a device, expected a regular file",
    folder: "it is a folder, expected a regular file",
    circle: "Too many levels of symbolic links",
}
"""What can stand in a file's place, and how it is told. Each makes itself at a path."""


@contextlib.contextmanager
def powerless():
    """Run as a user who may read no folder of the tests, also where they are run by root."""
    if os.geteuid() == 0:
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)
    else:
        pytest.skip("only root can become somebody else")
