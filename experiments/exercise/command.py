"""The command: what is asked for by its options, printed or written."""

import argparse
import inspect
from collections.abc import Sequence
from pathlib import Path

from experiments.common import commands
from experiments.common.errors import UserError
from experiments.common.sentence_parser import SentenceParser
from experiments.exercise import answer, judgement
from manual_bp.textbook.exercises import EXERCISES, Exercise

PROGRAM = "python -m experiments.exercise"
EXAMPLES = f"""examples:
  {PROGRAM}                         list them
  {PROGRAM} 3                       print one
  {PROGRAM} 3 --start answer.py     begin with it
  {PROGRAM} 3 --answer answer.py    is it right?"""


def parser() -> SentenceParser:
    """What the command can be told: an exercise, and one thing to do with it."""
    made = SentenceParser(
        prog=PROGRAM,
        usage="%(prog)s [N] [options]",
        description=commands.question("exercise"),
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument(
        "number", metavar="N", nargs="?", type=int, help="an exercise; without it all are listed"
    )
    one = made.add_mutually_exclusive_group()
    one.add_argument("--start", metavar="FILE", type=Path, help="write a new file with a bwd to complete")
    one.add_argument(
        "--answer", metavar="FILE", type=Path, help="judge the bwd in a file: exit 0 if right, 1 if wrong"
    )
    one.add_argument("--hint", action="store_true", help="print a hint")
    one.add_argument("--solution", action="store_true", help="print a solution")
    return made


def main(args: Sequence[str] | None = None) -> int:
    """Do what is asked for."""
    given = parser().parse_args(args)
    if given.number is None:
        asked = [f"--{name}" for name, value in vars(given).items() if value]
        if asked:
            raise UserError(f"{asked[0]} was given without the number of an exercise; expected {PROGRAM} N.")
        print(listing())
        return 0
    if given.number not in EXERCISES:
        raise UserError(f"the exercise was {given.number}; expected a number from 1 to {len(EXERCISES)}.")
    exercise = EXERCISES[given.number]
    if given.answer:
        found = judgement.of(exercise, answer.load(given.answer, exercise), given.answer)
        print(found.text)
        return 0 if found.right else 1
    if given.start:
        answer.start(given.start, exercise)
        print(f"Complete bwd in {given.start}, then run\n{PROGRAM} {exercise.number} --answer {given.start}")
    elif given.hint:
        print(exercise.hint)
    elif given.solution:
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
