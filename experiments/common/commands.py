"""The list of commands: every package of experiments with a `__main__`, and the question that it answers.

The question is the first line of the package's docstring. It is read from the source, as to import all
packages takes seconds.
"""

import ast
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.common.errors import UserError, choose

FOLDER = Path(__file__).parents[1]


def questions() -> dict[str, str]:
    """The name of each command and its question."""
    return {path.parent.name: question(path.parent.name) for path in sorted(FOLDER.glob("*/__main__.py"))}


def question(name: str) -> str:
    """The question of one command."""
    source = (FOLDER / name / "__init__.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def main(args: Sequence[str] | None = None) -> None:
    """Print the list; who asks for a command here is told where it is."""
    known = questions()
    given = sys.argv[1:] if args is None else args
    if given and given[0] not in ("-h", "--help"):
        name = choose("experiments: the command", given[0], known)
        raise UserError(f"experiments: {name!r} is a command of its own: run python -m experiments.{name}.")
    width = max(map(len, known))
    for name, asked in known.items():
        print(f"python -m experiments.{name:<{width}}  {asked}")
    print("\nWhat each can be told, it says with --help.")
