"""Source locations of steps: an identity that all turns of a loop share, and the text that was written."""

import linecache
import os
from pathlib import Path
from types import CodeType
from typing import Any

import jax
import jaxlib

from jax_ref.verify.program.steps import Step

JAX = tuple(f"{Path(str(package.__file__)).parent}{os.sep}" for package in (jax, jaxlib))
VERIFIER = f"{Path(__file__).parents[1]}{os.sep}"
"""The folders of JAX and of the verifier, by which their frames are told from the user's."""

LONGEST = 80
"""Characters that are shown."""


def place(step: Step) -> tuple[Any, ...]:
    """Equal for steps that the same piece of source makes, as in a loop."""
    positions = tuple((code.co_filename, code.co_firstlineno, at) for code, at in frames(step.within[0]))
    return (positions or id(step.within[0]), *step.within[1:], step.name)


def expression(step: Step) -> str:
    """What the caller of JAX wrote, as in "`jnp.tanh(z)` (net.py:12)"; nothing where it is not known."""
    outside = [(code, at) for code, at in frames(step.within[0]) if not code.co_filename.startswith(JAX)]
    if not outside:
        return ""
    code, at = outside[-1]
    first, last, start, end = list(code.co_positions())[at // 2]  # two bytes for each instruction
    if first is None:
        return ""
    text = linecache.getline(code.co_filename, first)
    if first == last and start is not None:
        text = text.encode()[start:end].decode()  # columns are counted in bytes
    text = text.strip()
    shown = f"{text[:LONGEST]}..." if len(text) > LONGEST else text
    return f"`{shown}` ({Path(code.co_filename).name}:{first})" if text else ""


def frames(equation: Any) -> list[tuple[CodeType, int]]:
    """Code and position of each call between the verifier and the equation, the outermost first."""
    traceback = getattr(getattr(equation, "source_info", None), "traceback", None)
    frames = []
    for code, at in zip(*traceback.raw_frames(), strict=True) if traceback is not None else ():
        if code.co_filename.startswith(VERIFIER):
            break
        frames.append((code, at))
    return frames[::-1]
