"""The judgement of an answer: what the verifier finds, in words, by the names that the exercise uses."""

import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jaxtyping import PyTree

from experiments.exercise import answer
from jax_ref import verify
from manual_bp.textbook.exercises import Exercise

TRACED = (jax.errors.JAXTypeError, jax.errors.JAXIndexError)
"""What JAX raises where numbers are wanted of an array that has none yet."""

LEVELS = ("quick", "default")
"""What is wrong at a few points already is said at once."""


class Judgement(NamedTuple):
    """Whether the answer is right, and what is said of it."""

    right: bool
    text: str


def of(exercise: Exercise, bwd: Callable[[Any, Any], Any], path: Path) -> Judgement:
    """Call the reader's backward once as it is, then have it verified."""
    title = f"Exercise {exercise.number}. {exercise.title}"
    try:
        problem = _problem(exercise, bwd)
        report = None if problem else _verified(exercise.answered_by(bwd))
    except (Exception, SystemExit) as error:  # the reader's code may raise anything
        hint = "Compute with jax.numpy: a check calls bwd with arrays that have no values yet."
        more = hint if isinstance(error, TRACED) else _shapes(exercise)
        problem, report = f"{answer.told(error, path)}\n  {more}", None
    if report is None:
        return Judgement(False, f"{title}: not right yet.\n\n{problem}")
    if report.ok:
        lines = [f"  d{leaf.path}  error {leaf.error:.1e}, allowed {leaf.bound:.1e}" for leaf in report.leaves]
        return Judgement(True, "\n".join([f"{title}: right.", "", *lines]))
    lines = [_said(finding) for finding in report.findings]
    wrong = {finding.path for finding in report.findings}
    lines += [f"  d{leaf.path} is right" for leaf in report.leaves if leaf.path not in wrong]
    return Judgement(False, "\n".join([f"{title}: not right yet.", "", *lines]))


def _problem(exercise: Exercise, bwd: Callable[[Any, Any], Any]) -> str | None:
    """What is wrong with what `bwd` returns, before any number is looked at."""
    output, residuals = exercise.fwd(*exercise.example())
    returned = jax.eval_shape(bwd, residuals, output)
    wanted = ", ".join(exercise.returns)
    count = len(returned) if isinstance(returned, tuple) else 1
    if isinstance(returned, tuple) != (len(exercise.returns) > 1) or count != len(exercise.returns):
        found = f"a tuple of {count}" if isinstance(returned, tuple) else f"one {type(returned).__name__}"
        return f"bwd returned {found}; expected {wanted}."
    return None


def _verified(exercise: Exercise) -> verify.Report:
    """The first report that finds something, or the last one."""
    for level in LEVELS:
        report = verify.check_op(exercise, *exercise.example(), level=level)
        if not report.ok:
            break
    return report


def _said(finding: verify.Finding) -> str:
    name = f"d{finding.path}" if finding.path else "bwd"
    return textwrap.fill(f"{name}: {finding.text}", 80, initial_indent="  ", subsequent_indent="      ")


def _shapes(exercise: Exercise) -> str:
    """The shapes of what `bwd` is given, which an error is mostly about."""
    output, residuals = exercise.fwd(*exercise.example())
    given = dict(zip(exercise.saved, jax.tree.leaves(residuals), strict=True))
    shapes = [f"{name} {leaf.shape}" for name, leaf in given.items()]
    _, cotangent = inspect.signature(exercise.bwd).parameters
    return f"The shapes are {', '.join([*shapes, f'{cotangent} {output.shape}'])}."
