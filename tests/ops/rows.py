"""The table of cases as parameters of tests: a case with one of its examples.

Everything is checked at the full examples. The values in float64 are at one of each other kind too, and at an
op's first kind in all leading shapes; `-m slow` checks everything at all of them. An id begins with the name
of the op: the tests of one op run in one process.
"""

from typing import NamedTuple

import pytest

from tests.cases import CASES, MODELS, Case, Example


class Row(NamedTuple):
    """A case and one of its examples."""

    case: Case
    example: Example


ROWS = [Row(case, example) for case in (CASES | MODELS).values() for example in case.examples]
FULL = [row for row in ROWS if row.example.full]
OTHERS = [row for row in ROWS if not row.example.full]


def repeats(row: Row) -> bool:
    """Whether the kind has had its turn in another leading shape, and the leading shape in another kind."""
    first = row.case.examples[0].kind
    if row.example is next(e for e in row.case.examples if e.kind == row.example.kind):
        return False
    return row.example.kind != first or row.case.name in MODELS


NEW = [row for row in OTHERS if not repeats(row)]
REPEATS = [row for row in OTHERS if repeats(row)]


def params(rows: list[Row], *marks: pytest.MarkDecorator) -> list:
    """The rows with their ids."""
    return [pytest.param(row, id=f"{row.case.name}-{row.example}", marks=marks) for row in rows]
