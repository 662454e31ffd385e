"""The command: a line for each word."""

import argparse
import re
from collections.abc import Sequence

from experiments.common import commands
from experiments.common.errors import UserError, shown
from experiments.common.sentence_parser import SentenceParser
from experiments.pronounce import speech, weights

PROGRAM = "python -m experiments.pronounce"

MOST, LONGEST = 1000, 100
"""Words at a time, and letters of a word."""


def parser() -> SentenceParser:
    """What the command can be told."""
    made = SentenceParser(
        prog=PROGRAM,
        description=commands.question("pronounce"),
        epilog=f"example:\n  {PROGRAM} gradient propagation",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("words", metavar="WORD", nargs="+", help="an English word, of the letters a to z")
    return made


def main(args: Sequence[str] | None = None) -> int:
    """Print the phonemes of each word."""
    words = [checked(word) for word in parser().parse_args(args).words]
    if len(words) > MOST:
        raise UserError(f"there were {len(words)} words; expected at most {MOST}.")
    width = max(map(len, words))
    for word, phonemes in zip(words, speech.pronounced(weights.load(), words), strict=True):
        print(f"{word:<{width}}  {' '.join(phonemes)}")
    return 0


def checked(word: str) -> str:
    """The word in small letters, if it is one."""
    if not re.fullmatch("[a-z]+", word.lower(), re.ASCII):
        raise UserError(f"the word was {shown(word)}; expected letters from a to z.")
    if len(word) > LONGEST:
        raise UserError(f"the word was {shown(word)}; expected at most {LONGEST} letters.")
    return word.lower()
