"""The table of ops and models: what is checked, against what, with which example arguments.

Every test of a gradient runs over it. A family of ops has a file with its rows; a row is the ways to call
an op.
"""

import importlib
import pkgutil

from tests.cases.case import FLAT, LEADS, Case, Draw, Example, Kind, cases
from tests.cases.models import MODELS

CASES: dict[str, Case] = {}
"""Op name, and `family.member` of the small families, to its case."""

for _file in pkgutil.iter_modules(__path__):
    _rows = getattr(importlib.import_module(f"{__name__}.{_file.name}"), "CASES", {})
    assert not CASES.keys() & _rows.keys(), f"tests/cases/{_file.name}.py: another file has a row of its"
    CASES |= _rows

__all__ = ["CASES", "FLAT", "LEADS", "MODELS", "Case", "Draw", "Example", "Kind", "cases"]
