"""The command: what is asked for by its options, printed or written."""

import dataclasses
import inspect
from collections.abc import Sequence
from pathlib import Path

import tyro

from experiments.common import commands
from experiments.common.errors import UserError
from experiments.exercise import answer, judgement
from manual_bp.textbook.exercises import EXERCISES, Exercise

PROGRAM = "python -m experiments.exercise"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the command can be told."""

    number: tyro.conf.Positional[int | None] = None
    """The number of an exercise, whose statement is printed; without it all are listed."""
    answer: Path | None = None
    """A Python file with a function bwd, to be judged: exit 0 if it is right, 1 if it is wrong."""
    start: Path | None = None
    """A new file, which gets the statement, the forward pass and a bwd to complete."""
    hint: bool = False
    """Print a hint."""
    solution: bool = False
    """Print a solution."""


def main(args: Sequence[str] | None = None) -> int:
    """Do the one thing that is asked for."""
    settings = tyro.cli(Settings, prog=PROGRAM, description=commands.question("exercise"), args=args)
    asked = [
        f"--{name}"
        for name, value in dataclasses.asdict(settings).items()
        if name != "number" and value not in (None, False)
    ]
    if len(asked) > 1:
        raise UserError(f"{' and '.join(asked)} were given; expected one of them.")
    if settings.number is None:
        if asked:
            raise UserError(f"{asked[0]} was given without the number of an exercise; expected {PROGRAM} N.")
        print(listing())
        return 0
    if settings.number not in EXERCISES:
        raise UserError(f"the exercise was {settings.number}; expected a number from 1 to {len(EXERCISES)}.")
    exercise = EXERCISES[settings.number]
    if settings.answer is not None:
        found = judgement.of(exercise, answer.load(settings.answer, exercise), settings.answer)
        print(found.text)
        return 0 if found.right else 1
    if settings.start is not None:
        answer.start(settings.start, exercise)
        path = settings.start
        print(f"Complete bwd in {path}, then run\n{PROGRAM} {exercise.number} --answer {path}")
    elif settings.hint:
        print(exercise.hint)
    elif settings.solution:
        print(inspect.getsource(exercise.bwd).rstrip())
    else:
        print(statement(exercise))
    return 0


def listing() -> str:
    """All exercises, and what to do next."""
    lines = [f"{number:>2}  {exercise.title}" for number, exercise in EXERCISES.items()]
    return "\n".join([*lines, "", f"{PROGRAM} 1 prints the first one; --help says what else there is."])


def statement(exercise: Exercise) -> str:
    """An exercise, the forward pass that is given with it, and what to do next."""
    forward = inspect.getsource(exercise.fwd).rstrip()
    begin = f"To begin: {PROGRAM} {exercise.number} --start answer.py"
    return f"{exercise}\n\nThe forward pass, as it is given:\n\n{forward}\n\n{begin}"
