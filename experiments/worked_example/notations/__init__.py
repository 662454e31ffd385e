"""The example in the letters of each note: a file a note, which writes the lines in the note's own way."""

from collections.abc import Callable
from typing import NamedTuple

from experiments.worked_example.network import Example
from experiments.worked_example.notations import (
    four_equations,
    index_and_vector_forms,
    matrix_form,
    paths,
    two_passes,
)
from experiments.worked_example.sheet import Sheet
from manual_bp.textbook.notes import NOTES, Note


class Notation(NamedTuple):
    """A note and what writes the example in its letters."""

    note: Note
    write: Callable[[Sheet, Example], None]


_WRITERS = {
    module.__name__.rpartition(".")[2]: module.write
    for module in (matrix_form, two_passes, index_and_vector_forms, paths, four_equations)
}

NOTATIONS = {note.module: Notation(note, _WRITERS[note.module]) for note in NOTES.values()}
"""By the name of the note's module in `manual_bp.textbook`."""
