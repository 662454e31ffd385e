"""Softmax and its logarithm."""

from tests.cases.case import Kind, cases

_KINDS = [
    Kind("plain", lambda d, lead: (d.real(*lead, 5), None)),
    Kind("first_axis", lambda d, lead: (d.real(*lead, 5), None), {"axis": 0}),
    Kind("mask", lambda d, lead: (d.real(*lead, 3, 5), d.mask(3, 5)), full=True),
    Kind("mask_of_rows", lambda d, lead: (d.real(*lead, 3, 5), d.mask(*lead, 3, 1)), {"axis": -2}),
]

CASES = cases({"softmax": _KINDS, "log_softmax": _KINDS})
