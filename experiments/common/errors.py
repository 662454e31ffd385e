"""Mistakes of the user: one clear sentence, exit code 2, no traceback."""

import difflib
import sys
from collections.abc import Callable, Iterable
from typing import NoReturn

LONG = 80
"""Characters up to which a text of the user's is shown whole."""

LISTED = 300
"""Characters up to which all names that an option can be are listed."""


class UserError(Exception):
    """A mistake of the user's, told in one sentence, which is one line that any terminal shows."""

    def __init__(self, sentence: str) -> None:
        # a file's name may have line ends and half characters
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in sentence))


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a script's `main` and exit with what it returns, 2 after a `UserError`, 130 after Ctrl-C."""
    try:
        sys.exit(main())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        sys.exit(130)


def choose(option: str, value: str, known: Iterable[str]) -> str:
    """`value`, if it is one of the names `known`; otherwise say which is nearest."""
    names = sorted(known)
    if value in names:
        return value
    near = difflib.get_close_matches(value, names, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}? It can be" if near else "it can be"
    listed = ", ".join(names)
    if len(listed) > LISTED:
        some = difflib.get_close_matches(value, names, n=5, cutoff=0)
        listed = f"{', '.join(some)}, or another of {len(names)}"
    raise UserError(f"{option} was {shown(repr(value))}; {hint} {listed}.")


def shown(text: str) -> str:
    """A text of the user's as a sentence holds it: in one line, printable, and not long."""
    text = text if text and text.isprintable() else repr(text)
    return text if len(text) <= LONG else f"{text[: LONG // 2]}... ({len(text)} characters)"
