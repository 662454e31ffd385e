"""The notes by name, the same in the table, at the top of each module, and in the package's own docstring."""

import importlib
import inspect

import pytest

import manual_bp.textbook
from manual_bp.textbook.errata import FUNCTIONS, MISTAKES, REMARKS
from manual_bp.textbook.notes import FORMS, NOTES, label


def docstring(module):
    return inspect.getdoc(module) or ""


def test_numbers_titles_and_authors():
    told = {number: (note.title, note.author) for number, note in NOTES.items()}
    assert told == {
        "000": ("Backpropagation - Matrix Form", "Benji Peng"),
        "001": ("Backpropagation", None),
        "002": ("Backpropagation", None),
        "003": ("Backpropogation", None),  # as it is spelled there
        "004": ("Understanding gradient descent and Backpropagation", None),
    }


@pytest.mark.parametrize("number", NOTES)
def test_a_module_begins_with_its_note(number):
    note = NOTES[number]
    assert note.number == number
    module = importlib.import_module(f"manual_bp.textbook.{note.module}")
    assert docstring(module).partition("\n")[0].endswith(f": {note}.")
    errata = importlib.import_module(f"manual_bp.textbook.errata.{note.module}")
    assert f"note {number}, {note.name}" in docstring(errata).partition("\n")[0]
    row = f"{number}  `{note.module}`"
    (line,) = [line for line in docstring(manual_bp.textbook).splitlines() if row in line]
    assert f'"{note.title}"' in line
    assert (note.author or '"') in line


def test_forms_have_names():
    assert {form.note.number for form in FORMS.values()} == set(NOTES)
    assert len({form.name for form in FORMS.values()}) == len(FORMS) == 8
    assert all(key.startswith(form.note.number) for key, form in FORMS.items())


def test_labels_have_the_name_for_the_number():
    assert label("003 one path") == "paths: one path"
    assert label("s' missing with squared error") == "s' missing with squared error"
    labels = [label(key) for key in {**MISTAKES, **FUNCTIONS, **REMARKS}]
    assert len(set(labels)) == len(labels)
    assert not any(label[:3].isdigit() for label in labels)
