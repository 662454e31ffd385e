"""`python -m manual_bp.textbook.errata`: the errors of the notes, and the classical ones, as text."""

import argparse
import difflib
import sys
import textwrap
from collections.abc import Sequence
from typing import NoReturn

from manual_bp.textbook.errata import FUNCTIONS, MISTAKES, REMARKS
from manual_bp.textbook.errata.mistake import Erratum
from manual_bp.textbook.notes import NOTES

CLASSICS = "classics"
"""The note of what is in none."""


def note_of(name: str) -> str:
    """The number of the note that a name begins with, or `CLASSICS`."""
    number = name.partition(" ")[0]
    return number if number in NOTES else CLASSICS


def title(note: str) -> str:
    """What is above the errata of a note."""
    if note == CLASSICS:
        return "Classical mistakes, in none of the notes"
    text = textwrap.fill(str(NOTES[note]), 80)
    return f"{text[0].upper()}{text[1:]}\nin code: manual_bp.textbook.{NOTES[note].module}"


def listing(found: dict[str, Erratum]) -> str:
    """The errata by note, each with its name above it."""
    blocks = []
    for note in (*NOTES, CLASSICS):
        here = {name: erratum for name, erratum in found.items() if note_of(name) == note}
        if here:
            blocks.append(title(note))
            blocks += [f"{name}\n{textwrap.indent(str(erratum), '  ')}" for name, erratum in here.items()]
    return "\n\n".join(blocks)


class _Parser(argparse.ArgumentParser):
    """Says in one line what is wrong with a command."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}\n")


def main(args: Sequence[str] | None = None) -> int:
    """Print all, or those that are asked for."""
    parser = _Parser(
        prog="python -m manual_bp.textbook.errata",
        description="What is wrong in the five notes, and what people get wrong.",
    )
    parser.add_argument("name", nargs="*", help="of an erratum, or a part of it, in any case of letters")
    parser.add_argument("--note", choices=(*NOTES, CLASSICS), help="only those of one note")
    given = parser.parse_args(args)
    everything: dict[str, Erratum] = {**MISTAKES, **FUNCTIONS, **REMARKS}
    wanted = " ".join(given.name)
    found = {
        name: erratum
        for name, erratum in everything.items()
        if wanted.lower() in name.lower() and given.note in (None, note_of(name))
    }
    if not found:
        near = difflib.get_close_matches(wanted, everything, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else "without a name all are listed."
        parser.error(f"no erratum{f' of {given.note}' if given.note else ''} is called {wanted!r}; {hint}")
    print(listing(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
