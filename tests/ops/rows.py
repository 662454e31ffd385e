"""The table of cases as parameters of tests: a case with one of its examples.

Everything is checked at the full examples, the values in float64 at all of them; `-m slow` checks
everything at all of them. An id begins with the name of the op: the tests of one op run in one process.
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


def params(rows: list[Row], *marks: pytest.MarkDecorator) -> list:
    """The rows with their ids."""
    return [pytest.param(row, id=f"{row.case.name}-{row.example}", marks=marks) for row in rows]
