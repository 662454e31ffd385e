"""What is printed of an erratum, and the command that prints them all."""

import re

import pytest

from manual_bp.textbook.errata import FUNCTIONS, MISTAKES, REMARKS
from manual_bp.textbook.errata.__main__ import main
from manual_bp.textbook.notes import NOTES

ALL = {**MISTAKES, **FUNCTIONS, **REMARKS}


def test_names_are_of_one_erratum_each():
    assert len(ALL) == len(MISTAKES) + len(FUNCTIONS) + len(REMARKS)


def test_a_mistake_is_told_in_four_lines():
    assert str(MISTAKES["002 1/B twice"]) == (
        "printed  (1/B) D A^T, with D the deltas of the mean loss\n"
        "right    D the deltas of each example's loss, or no 1/B\n"
        "off by   B times too small\n"
        "where    002, Batch; a classic"
    )


@pytest.mark.parametrize("name", ALL)
def test_what_is_told_has_words_and_no_addresses(name):
    erratum = ALL[name]
    lines = str(erratum).splitlines()
    assert [line[:9].strip() for line in lines if line[:9].strip()] == ["printed", "right", "off by", "where"]
    assert max(map(len, lines)) <= 78
    for text in (str(erratum), repr(erratum), f"{[erratum]}"):
        assert " at 0x" not in text
    assert repr(erratum).startswith(f"{type(erratum).__name__}(source={erratum.source!r}, ")
    number = name.partition(" ")[0]
    assert erratum.source.startswith(number) or number not in NOTES
    assert not re.search(r"\d{3} \(\d", erratum.source)  # a place in the note, not in a list of ours


def listed(capsys, *args):
    assert main(args) == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert text.isascii()
    return [line for line in text.splitlines() if line in ALL], text


def test_all_are_listed_by_note(capsys):
    names, text = listed(capsys)
    assert sorted(names) == sorted(ALL)
    titles = [text.index(f'Note {number}, "{note.title[:20]}') for number, note in NOTES.items()]
    assert titles == sorted(titles)
    assert 'Note 000, "Backpropagation - Matrix Form" by Benji Peng' in text


@pytest.mark.parametrize(
    ("args", "names"),
    [
        (["--note", "001"], [n for n in ALL if n.startswith("001")]),
        (["one", "path"], ["003 one path"]),
        (["003 ONE PATH"], ["003 one path"]),
        (["--note", "classics"], [n for n in ALL if n.partition(" ")[0] not in NOTES]),
        (["--note", "003", "softmax"], [n for n in ALL if n.startswith("003 softmax")]),
    ],
)
def test_a_note_or_a_name_narrows(args, names, capsys):
    assert len(names) > 0
    assert sorted(listed(capsys, *args)[0]) == sorted(names)


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["one psth"], "no erratum is called 'one psth'; did you mean '003 one path'?"),
        (["--note", "001", "one path"], "no erratum of 001 is called 'one path'"),
        (["--note", "005"], "invalid choice: '005'"),
    ],
)
def test_what_is_not_there(args, words, capsys):
    with pytest.raises(SystemExit) as done:
        main(args)
    assert done.value.code == 2
    assert words in capsys.readouterr().err
