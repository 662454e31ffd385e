"""Values of options: names of a registry, numbers in a range, texts and paths, each read strictly or refused.

A field of a settings dataclass is `Annotated` with what limits it, `OneOf` or `Between`; the registry or the
range is written there alone, and the parser and `--help` read it.
"""

import os
import re
import unicodedata
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from experiments.common.errors import UserError, choose, shown

LONGEST_NAME, LONGEST_PATH = 200, 4000
"""Bytes that every file system takes, with room for what is added to a name."""


class OneOf(NamedTuple):
    """One of the names of a registry."""

    names: Collection[str]

    def check(self, option: str, value: str, given: str) -> None:
        """Raise `UserError` for another name."""
        choose(option, value, self.names)


class Between(NamedTuple):
    """A number of a range, its ends included."""

    low: float
    high: float

    def check(self, option: str, value: float, given: str) -> None:
        """Raise `UserError` for a number outside; `given` is it as it was typed."""
        if not self.low <= value <= self.high:
            raise UserError(f"{option} was {shown(given)}; expected {self}.")

    def __str__(self) -> str:
        return f"at least {self.low} and at most {self.high}"


Limit = OneOf | Between

Count = Annotated[int, Between(1, 2**31 - 1)]
"""A number of things, as far as 32 bits count."""

Seed = Annotated[int, Between(0, 2**32 - 1)]
"""What `jax.random.key` tells apart without 64 bits."""

Rate = Annotated[float, Between(1e-38, 1e38)]
"""A positive number that is neither 0 nor infinite in float32."""

INTEGER = re.compile(r"[+-]?[0-9]{1,300}", re.ASCII)
DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.ASCII | re.IGNORECASE)


def read(option: str, kind: type, limit: Limit | None, given: str) -> Any:
    """The value of `kind` that a text on the command line stands for, or a `UserError`."""
    value = READERS[kind](option, limit, given)
    if limit is not None:
        limit.check(option, value, given)
    return value


def _number(
    kind: type, what: str, form: re.Pattern[str], option: str, limit: Limit | None, given: str
) -> Any:
    if not form.fullmatch(given):
        within = f", {limit}" if limit else ""
        raise UserError(f"{option} was {shown(given)}; expected {what}{within}.")
    return kind(given)


def _text(option: str, _: Limit | None, given: str) -> str:
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in given):
        raise UserError(f"{option} was {shown(given)}; expected text in UTF-8 without control characters.")
    return given


def _path(option: str, limit: Limit | None, given: str) -> Path:
    if not given.strip():
        raise UserError(f"{option} was {shown(given)}; expected a path.")
    path = Path(_text(option, limit, given))
    longest = max((len(os.fsencode(part)) for part in path.parts), default=0)
    if longest > LONGEST_NAME or len(os.fsencode(path)) > LONGEST_PATH:
        raise UserError(
            f"{option} was {shown(given)}; expected a path of at most {LONGEST_PATH} bytes, each name in it "
            f"of at most {LONGEST_NAME}."
        )
    return path


READERS: dict[type, Callable[[str, Limit | None, str], Any]] = {
    int: partial(_number, int, "an integer", INTEGER),
    float: partial(_number, float, "a number", DECIMAL),
    str: _text,
    Path: _path,
}
