"""Text as numbers: each character by its place among those that occur, in three contiguous parts."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.common import regular_file
from experiments.common.errors import UserError
from experiments.data.wheels import MOST

HELD_OUT = 20
"""Each of the two parts that are not trained on is one of so many of the text."""


class Text(NamedTuple):
    """The characters that occur, sorted, and the numbers (N,) of those of each part."""

    characters: str
    train: np.ndarray
    """The first nine tenths."""
    validation: np.ndarray
    """The twentieth after them."""
    test: np.ndarray
    """The last twentieth."""

    def shown(self, numbers: np.ndarray) -> str:
        """The text of some numbers, in which nothing but a line's end does anything to a terminal."""
        letters = (self.characters[number] for number in numbers)
        return "".join(c if c.isprintable() or c == "\n" else " " for c in letters)


class Bytes(Text):
    """The same of a text's bytes in UTF-8, each of them the character of that number."""

    def shown(self, numbers: np.ndarray) -> str:
        """The text of some bytes, with a mark where they are none."""
        octets = bytes(ord(self.characters[number]) for number in numbers)
        return "".join(c if c.isprintable() or c == "\n" else " " for c in octets.decode("utf-8", "replace"))


def in_bytes(whole: Text) -> Text:
    """The parts of a text as the bytes of its UTF-8, each part's own."""
    parts = [
        np.frombuffer("".join(whole.characters[number] for number in part).encode(), np.uint8)
        for part in whole[1:]
    ]
    known, numbers = np.unique(np.concatenate(parts), return_inverse=True)
    ends = np.cumsum([len(part) for part in parts])[:-1]
    return Bytes("".join(map(chr, known)), *np.split(numbers.astype(np.int32), ends))


def of(content: str, what: str) -> Text:
    """The parts of a text; `what` it is stands in the sentence where it is too short to be parted.

    Which characters there are is taken from the whole, so that none is unknown in a part.
    """
    points = np.frombuffer(content.encode("utf-32-le"), "<u4")
    held_out = len(points) // HELD_OUT
    if held_out < 2:
        least = 2 * HELD_OUT
        raise UserError(f"{what} has {len(points)} characters; expected at least {least}, to test on some.")
    known, numbers = np.unique(points, return_inverse=True)
    train, validation, test = np.split(numbers.astype(np.int32), [-2 * held_out, -held_out])
    return Text("".join(map(chr, known)), train, validation, test)


def read(path: Path) -> Text:
    """The user's own text: a file in UTF-8, with any kind of line ends."""
    try:
        with regular_file.opened(path) as file:
            if (size := regular_file.size(file)) > MOST:
                raise UserError(f"--text {path} has {size} bytes; expected at most {MOST}.")
            content = file.read(size).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise UserError(
            f"--text {path} is not text in UTF-8: {error.reason} (byte 0x{byte:02x} at {error.start})."
        ) from None
    except (OSError, MemoryError) as error:
        raise UserError(f"--text {path} cannot be read: {regular_file.reason(error)}.") from None
    return of(content.replace("\r\n", "\n").replace("\r", "\n"), f"--text {path}")
