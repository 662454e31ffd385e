"""Command lines read into a dataclass of settings: one sentence for what is wrong, and help in groups."""

import argparse
import difflib
import re
import sys
import textwrap
from collections.abc import Sequence
from functools import partial
from typing import Any, TypeVar

from experiments.common.errors import UserError, shown
from experiments.common.fields import Field, fields
from experiments.common.sentence_parser import SentenceParser

Settings = TypeVar("Settings")

WIDTH = 80
"""Columns of the help."""

CONTINUED = " \\"
"""How a shell is told that a command goes on in the next line."""

NEGATIVE = re.compile(r"-\.?\d")
"""How a negative number begins, which is a value and no option. argparse takes -1e-3 for an option before
Python 3.14, but nothing that begins with a space."""


def parse(
    settings: type[Settings],
    *,
    prog: str,
    description: str,
    examples: Sequence[str] = (),
    args: Sequence[str] | None = None,
) -> Settings:
    """The settings of a command line, by default this process's; a `UserError` says what is wrong with it.

    A class with `presets`, options by the names of the option `preset`, has those where none was given.
    """
    lines = ["examples:", *(_to_paste(f"{prog} {example}") for example in examples)]
    parser = SentenceParser(
        prog=prog,
        usage="%(prog)s [options]",
        description=textwrap.fill(description, WIDTH),
        epilog="\n".join(lines) if examples else None,
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, max_help_position=22, width=WIDTH),
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    options = fields(settings)
    groups = {title: parser.add_argument_group(title) for title in dict.fromkeys(f.group for f in options)}
    for field in options:
        is_flag = field.form.kind is bool
        groups[field.group].add_argument(
            field.option,
            dest=field.name,
            action=_Given,
            field=field,
            nargs=0 if is_flag else field.form.number or "+",
            metavar=None if is_flag else field.form.metavar,
            help=field.help.replace("%", "%%"),
        )
    words = sys.argv[1:] if args is None else args
    given, strange = parser.parse_known_args([f" {w}" if NEGATIVE.match(w) else w for w in words])
    if strange:
        raise UserError(_strange(_as_given(strange[0]), [field.option for field in options]))
    chosen = vars(given)
    preset = getattr(settings, "presets", {}).get(chosen.get("preset"), {})
    return settings(**{**preset, **chosen})


class _Given(argparse.Action):
    """Reads the values of a field; of an option given again the last counts, so that a script can append."""

    def __init__(self, *args: Any, field: Field, **words: Any) -> None:
        super().__init__(*args, **words)
        self.field = field

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        option, form = self.field.option, self.field.form
        given = [_as_given(value) for value in values]
        setattr(namespace, self.dest, True if form.kind is bool else form.read(option, given))


def _as_given(word: str) -> str:
    """A word of the command line without the space before a negative number."""
    return word[1:] if word.startswith(" ") and NEGATIVE.match(word, 1) else word


def _to_paste(command: str) -> str:
    """A command in as many lines as its width takes, each but the last continued for the shell."""
    whole = re.sub(r"'[^']*'", lambda quoted: quoted[0].replace(" ", "\0"), command)
    wrap = textwrap.TextWrapper(WIDTH - len(CONTINUED), "  ", "    ", break_on_hyphens=False)
    lines = wrap.wrap(whole)
    return f"{CONTINUED}\n".join(lines).replace("\0", " ")


def _strange(argument: str, known: Sequence[str]) -> str:
    """What is said of an argument that no option takes."""
    option = argument.partition("=")[0]
    if not option.startswith("-") or not option.strip("-"):
        return f"{shown(argument)} belongs to no option; --help lists them."
    longer = [name for name in known if name.startswith(option)]
    near = difflib.get_close_matches(option, known, n=1, cutoff=0.5)
    if not longer and not near:
        return f"{shown(option)} is no option; --help lists them."
    return f"{shown(option)} is no option; did you mean {(longer or near)[0]}?"
