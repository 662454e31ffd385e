"""The reader's file: how it begins, how its `bwd` is loaded, and which of its lines an error comes from."""

import inspect
import linecache
import textwrap
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.common import regular_file
from experiments.common.errors import UserError
from manual_bp.textbook.exercises import Exercise

TEMPLATE = '''"""Exercise {number}. {title}.

{statement}
"""

import jax
import jax.numpy as jnp

# The forward pass, as it is given:
#
{forward}


{to_write}
'''


def template(exercise: Exercise) -> str:
    """A file that lacks the backward pass."""
    forward = textwrap.indent(inspect.getsource(exercise.fwd).rstrip(), "# ", lambda line: True)
    return TEMPLATE.format(
        number=exercise.number,
        title=exercise.title,
        statement=exercise.statement,
        forward=forward,
        to_write=exercise.to_write,
    )


def start(path: Path, exercise: Exercise) -> None:
    """Write the template; a file that is there is left as it is."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(template(exercise))
    except FileExistsError:
        raise UserError(f"--start was {path}, which is there already; expected a new file.") from None
    except OSError as error:
        raise UserError(f"--start {path} cannot be written: {regular_file.reason(error)}.") from None


def load(path: Path, exercise: Exercise) -> Callable[[Any, Any], Any]:
    """The function `bwd` of the file, which must take two arguments."""
    try:
        with regular_file.opened(path) as file:
            source = file.read()
    except OSError as error:
        raise UserError(f"--answer {path} cannot be read: {regular_file.reason(error)}.") from None
    scope: dict[str, Any] = {"__name__": "answer", "__file__": str(path)}
    try:
        exec(compile(source, str(path), "exec"), scope)
    except (Exception, SystemExit) as error:
        raise UserError(f"--answer {': '.join(told(error, path))}.") from None
    bwd, wanted = scope.get("bwd"), exercise.to_write.partition("\n")[0].rstrip(":")
    if bwd is None:
        raise UserError(f"--answer {path} has no function bwd; expected {wanted}.")
    if not callable(bwd):
        raise UserError(f"--answer {path} has a bwd that is {bwd!r}; expected a function, {wanted}.")
    try:
        inspect.signature(bwd).bind(None, None)
    except (TypeError, ValueError):
        found = f"--answer {path} has bwd{_parameters(bwd)}"
        raise UserError(f"{found}; expected two arguments, {wanted}.") from None
    return bwd


def _parameters(function: Callable[..., Any]) -> str:
    try:
        return str(inspect.signature(function))
    except (TypeError, ValueError):
        return ""


def told(error: BaseException, path: Path) -> tuple[str, str]:
    """The line of the reader's file that an error comes from, and the error."""
    lines = str(error).strip().splitlines() or ["no message"]
    what = f"{type(error).__name__}: {lines[0]}"
    if isinstance(error, SyntaxError) and error.filename == str(path):
        number, what = error.lineno, f"{type(error).__name__}: {error.msg}"
    else:
        frames = traceback.extract_tb(error.__traceback__)
        number = next((frame.lineno for frame in reversed(frames) if frame.filename == str(path)), None)
    if number is None:
        return str(path), what
    return f"{path}, line {number}, `{linecache.getline(str(path), number).strip()}`", what
