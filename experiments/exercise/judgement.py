"""The judgement of an answer: what the verifier finds, in words, by the names that the exercise uses."""

import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax

from experiments.exercise import answer
from jax_ref import verify
from manual_bp.textbook.exercises import Exercise

TRACED = (jax.errors.JAXTypeError, jax.errors.JAXIndexError)
"""What JAX raises where numbers are wanted of an array that has none yet."""


class Judgement(NamedTuple):
    """Whether the answer is right, and what is said of it."""

    right: bool
    text: str


def of(exercise: Exercise, bwd: Callable[[Any, Any], Any], path: Path) -> Judgement:
    """Call the reader's backward, from the file `path`, once as it is, then have it verified."""
    right, said = _found(exercise, bwd, path)
    verdict = "right" if right else "not right yet"
    title = f"Exercise {exercise.number}. {exercise.title}: {verdict}."
    return Judgement(right, "\n".join([title, "", *said]))


def _found(exercise: Exercise, bwd: Callable[[Any, Any], Any], path: Path) -> tuple[bool, list[str]]:
    try:
        if problem := _problem(exercise, bwd):
            return False, [problem]
        report = _verified(exercise.answered_by(bwd))
    except (Exception, SystemExit) as error:  # the reader's code may raise anything
        hint = "Compute with jax.numpy: a check calls bwd with arrays that have no values yet."
        more = hint if isinstance(error, TRACED) else _shapes(exercise)
        where, what = answer.told(error, path)
        return False, [f"{where}:", f"  {what}", f"  {more}"]
    if report.ok:
        return True, [
            f"  d{row.path}  error {row.error:.1e}, allowed {row.bound:.1e}" for row in report.leaves
        ]
    wrong = {finding.path for finding in report.findings}
    rest = [f"  d{row.path} is right" for row in report.leaves if row.path not in wrong]
    return False, [*map(_said, report.findings), *rest]


def _problem(exercise: Exercise, bwd: Callable[[Any, Any], Any]) -> str | None:
    """What is wrong with what `bwd` returns, before any number is looked at."""
    output, residuals = exercise.fwd(*exercise.example())
    returned = jax.eval_shape(bwd, residuals, output)
    several, wanted = isinstance(returned, tuple), len(exercise.returns)
    if several == (wanted > 1) and (not several or len(returned) == wanted):
        return None
    found = f"a tuple of {len(returned)}" if several else f"one {type(returned).__name__}"
    return f"bwd returned {found}; expected {', '.join(exercise.returns)}."


def _verified(exercise: Exercise) -> verify.Report:
    """What is wrong at a few points already is said at once."""
    args = exercise.example()
    quick = verify.check_op(exercise, *args, level="quick")
    return verify.check_op(exercise, *args) if quick.ok else quick


def _said(finding: verify.Finding) -> str:
    name = f"d{finding.path}" if finding.path else "bwd"
    return textwrap.fill(f"{name}: {finding.text}", 80, initial_indent="  ", subsequent_indent="      ")


def _shapes(exercise: Exercise) -> str:
    """The shapes of what `bwd` is given, which an error is mostly about."""
    output, residuals = exercise.fwd(*exercise.example())
    given = dict(zip(exercise.saved, jax.tree.leaves(residuals), strict=True))
    _, cotangent = inspect.signature(exercise.bwd).parameters
    shapes = [f"{name} {leaf.shape}" for name, leaf in given.items()]
    return f"The shapes are {', '.join([*shapes, f'{cotangent} {output.shape}'])}."
