"""The memory of this machine: what exceeds it is refused before the system begins to hand it out."""

import os
import sys


def physical() -> int:
    """Bytes of memory; where the system does not say, what can be addressed."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return sys.maxsize
