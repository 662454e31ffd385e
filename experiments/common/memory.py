"""Memory: what there is, and what is known to be needed before any of it is taken.

An allocation that is too large fails late or not at all: the system may promise memory that is not there, and
end the process when it is written to. So the bytes are counted from shapes first.
"""

import math
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from experiments.common.errors import UserError

CGROUP = Path("/sys/fs/cgroup/memory.max")
"""Where Linux limits the memory of a container."""


def total() -> int:
    """Bytes of the memory that arrays are kept in."""
    limit = (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")
    if limit:
        return limit
    try:
        return min(physical(), int(CGROUP.read_text()))
    except (OSError, ValueError):  # not Linux, or "max"
        return physical()


def physical() -> int:
    """Bytes of memory; where the system does not say, what can be addressed."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return sys.maxsize


def require(what: str, needed: int) -> None:
    """Raise `UserError` if `what` needs more bytes than there are."""
    if needed > (there := total()):
        raise UserError(f"{what} needs {needed:,} bytes of memory or more; there are {there:,}.")


@contextmanager
def told(what: str) -> Iterator[None]:
    """Tell in a sentence that the memory was not enough for `what` after all."""
    try:
        yield
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, MemoryError) or re.search("RESOURCE_EXHAUSTED|Out of memory", str(error)):
            raise UserError(f"{what} needs more memory than the {total():,} bytes that there are.") from None
        raise


def size(tree: Any) -> int:
    """Bytes of the arrays of a tree, or of their shapes."""
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def largest(function: Callable[..., Any], *args: Any) -> int:
    """Bytes of the largest array that comes about in a function of arrays or shapes, which is only traced."""
    return _largest(jax.make_jaxpr(function)(*args))


def _largest(program: Any) -> int:
    """That of a program, or of the programs that its steps have as parameters."""
    found = [0]
    for step in getattr(program, "jaxpr", program).eqns:
        found += [size([variable.aval]) for variable in step.outvars]
        for held in step.params.values():
            parts = held if isinstance(held, tuple) else (held,)
            found += [_largest(part) for part in parts if hasattr(getattr(part, "jaxpr", part), "eqns")]
    return max(found)
