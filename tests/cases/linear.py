"""Ops that are linear in their input and in their weights."""

from manual_bp.ops import dense
from tests.cases.case import FLAT, Draw, Kind, cases


def affine(d: Draw, i: int, o: int) -> dense.Params:
    """Params of a dense layer with `i` inputs and `o` outputs."""
    return dense.Params(d.real(i, o), d.real(o))  # pyright: ignore[reportArgumentType]


CASES = cases(
    {
        "dense": [
            Kind("bias", lambda d, lead: (affine(d, 5, 3), d.real(*lead, 5))),
            Kind("no_bias", lambda d, lead: (affine(d, 5, 3)._replace(b=None), d.real(*lead, 5)), leads=FLAT),
        ],
    }
)
