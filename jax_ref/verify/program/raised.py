"""Errors of the user's code in a line: what was raised, by which line, and what to do about it.

A traceback leads through JAX and through the verifier; the line that its reader can change is the innermost
that belongs to neither, nor to an installed package where the reader's own code is on the way.
"""

import linecache
import re
import site
import sysconfig
import traceback
from pathlib import Path

import jax

from jax_ref.verify.program.source import JAX, LONGEST, VERIFIER

INSTALLED = tuple({*site.getsitepackages(), *(sysconfig.get_paths()[k] for k in ("stdlib", "purelib"))})
"""The folders of installed packages and of Python's own."""

PLAIN = "bind it with functools.partial, or name it in static_argnums"

HINTS: tuple[tuple[type[Exception], str], ...] = (
    (jax.errors.UnexpectedTracerError, "a value is kept from one call to another: return it instead"),
    (jax.errors.TracerArrayConversionError, "arguments are traced: compute with jax.numpy, not with NumPy"),
    (
        jax.errors.NonConcreteBooleanIndexError,
        "a shape may not depend on values: use jax.numpy.where with three arguments",
    ),
    (
        jax.errors.ConcretizationTypeError,
        f"arguments are traced: choose with jax.numpy.where or jax.lax.cond; if it is a setting, {PLAIN}",
    ),
)
"""What to do about errors that come of tracing; the first that fits."""

OF_SETTINGS = re.compile(r"[Tt]racer|Traced<|unhashable|non-hashable|static")
"""What other messages say where a setting is traced that must be a plain value."""


def told(error: BaseException) -> str:
    """The error, the user's line, and a hint where one helps."""
    text = f"{type(error).__name__}: {message(error)}".removesuffix(": ")
    line = own_line(error)
    hint = _hint(error)
    return f"{text}{f' ({line})' if line else ''}{f'; {hint}' if hint else ''}"


def message(error: BaseException) -> str:
    """What the error says, without where JAX was called: that is in the verifier."""
    text = str(error).strip()
    lines = [line.strip() for line in text.splitlines()]
    if "Traceback (most recent call last):" in text:  # of code that JAX called back
        return lines[-1]
    kept = [line for line in lines if line and not _is_about_the_call(line)]
    return " ".join(kept[:3])


def _is_about_the_call(line: str) -> bool:
    told = (
        "The error occurred while tracing",
        "This concrete value was not available",
        "See https://",
        "---",
    )
    return line.startswith(told) or VERIFIER in line or "For simplicity, JAX has removed" in line


def own_line(error: BaseException) -> str:
    """The user's line, as in "`x @ w` (net.py:12)"; nothing where there is none."""
    frames = [(f.filename, f.lineno or 0, _text(f)) for f in traceback.extract_tb(error.__traceback__)]
    called_back = re.findall(r'File "([^"]+)", line (\d+)', str(error))
    frames += [(file, int(number), linecache.getline(file, int(number))) for file, number in called_back]
    outside = [f for f in frames if not f[0].startswith((*JAX, VERIFIER)) and f[1]]
    own = [f for f in outside if not f[0].startswith(INSTALLED)] or outside
    if not own:
        return _own_line_of_cause(error)
    file, number, line = own[-1]
    text = line.strip()
    shown = f"{text[:LONGEST]}..." if len(text) > LONGEST else text
    return f"`{shown}` ({Path(file).name}:{number})" if shown else f"{Path(file).name}:{number}"


def _text(frame: traceback.FrameSummary) -> str:
    """What raises, of the line; all of it where it is one of several."""
    line = linecache.getline(frame.filename, frame.lineno or 0)
    if frame.lineno == frame.end_lineno and frame.colno is not None:
        return line.encode()[frame.colno : frame.end_colno].decode()  # columns are counted in bytes
    return line


def _own_line_of_cause(error: BaseException) -> str:
    return own_line(error.__cause__) if error.__cause__ else ""


def _hint(error: BaseException) -> str:
    for kind, hint in HINTS:
        if isinstance(error, kind):
            return hint
    if isinstance(error, TypeError | ValueError) and OF_SETTINGS.search(str(error)):
        return f"arguments are traced: if one of them is a setting, {PLAIN}"
    return ""
