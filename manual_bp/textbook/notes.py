"""The five notes by name: number, title, author, module, and what the forms of their gradients are called.

The errata and the tables call a note by its number, the order in which the documents came. Three of them are
called "Backpropagation", in two spellings, so `Note.name` tells them apart: that of its module, in words.
"""

from typing import NamedTuple


class Note(NamedTuple):
    """One document: `title` as it is spelled there, and `author`, None where the document names none."""

    number: str
    title: str
    author: str | None
    module: str

    @property
    def name(self) -> str:
        """What the note is called in a table."""
        return self.module.replace("_", " ")

    def __str__(self) -> str:
        """All of it in a line."""
        by = f" by {self.author}" if self.author else ", which names no author"
        return f'note {self.number}, "{self.title}"{by}'


NOTES = {
    note.number: note
    for note in (
        Note("000", "Backpropagation - Matrix Form", "Benji Peng", "matrix_form"),
        Note("001", "Backpropagation", None, "two_passes"),
        Note("002", "Backpropagation", None, "index_and_vector_forms"),
        Note("003", "Backpropogation", None, "paths"),
        Note("004", "Understanding gradient descent and Backpropagation", None, "four_equations"),
    )
}
"""The notes by their numbers."""


class Form(NamedTuple):
    """A form of the gradient, and the note that it is of."""

    note: Note
    name: str


FORMS = {
    "000": Form(NOTES["000"], "matrix form"),
    "001": Form(NOTES["001"], "two passes"),
    "002i": Form(NOTES["002"], "index form"),
    "002v": Form(NOTES["002"], "vector form"),
    "002b": Form(NOTES["002"], "batch form"),
    "002a": Form(NOTES["002"], "augmented form"),
    "003": Form(NOTES["003"], "path form"),
    "004": Form(NOTES["004"], "four equations"),
}
"""The forms of the notes' gradients; 002 has four of them."""


def label(key: str) -> str:
    """The key of an erratum with the note's name for its number: "003 one path" is "paths: one path".

    A classical mistake, which is in no note, keeps its key.
    """
    number, _, rest = key.partition(" ")
    return f"{NOTES[number].name}: {rest}" if number in NOTES else key
