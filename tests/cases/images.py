"""Ops that slide over spatial axes."""

from manual_bp.ops import conv
from tests.cases.case import FLAT, Draw, Kind, cases


def kernel(d: Draw, *shape: int) -> conv.Params:
    """Params of a convolution with a kernel of that shape."""
    return conv.Params(d.real(*shape), d.real(shape[-1]))  # pyright: ignore[reportArgumentType]


_CONV = [
    Kind("same", lambda d, lead: (kernel(d, 3, 2, 2, 3), d.real(*lead, 5, 4, 2))),
    Kind("no_bias", lambda d, lead: (kernel(d, 2, 3, 2)._replace(b=None), d.real(*lead, 4, 3)), leads=FLAT),
    Kind(
        "strides_groups",
        lambda d, lead: (kernel(d, 2, 3, 2, 6), d.real(*lead, 5, 7, 4)),
        {"strides": (2, 3), "groups": 2, "padding": ((1, 2), (0, 3))},
        leads=FLAT,
    ),
    Kind(
        "dilation_depthwise",
        lambda d, lead: (kernel(d, 3, 1, 6), d.real(*lead, 9, 3)),
        {"dilation": 2, "strides": 2, "groups": 3, "padding": "VALID"},
        leads=FLAT,
    ),
    Kind(
        "volume",
        lambda d, lead: (kernel(d, 2, 1, 3, 2, 2), d.real(*lead, 3, 1, 4, 2)),
        {"strides": (1, 2, 1)},
        leads=FLAT,
    ),
    Kind(
        "strides_beyond",
        lambda d, lead: (kernel(d, 2, 2, 3), d.real(*lead, 8, 2)),
        {"strides": 3},
        leads=FLAT,
    ),
]

_POOL = [
    Kind("tiles", lambda d, lead: (d.real(*lead, 5, 6, 2),), {"window": (2, 3)}),
    Kind("overlap", lambda d, lead: (d.real(*lead, 5, 4, 2),),
         {"window": (3, 2), "strides": 1, "padding": "SAME"}, full=True, leads=FLAT),
    Kind("strides_beyond", lambda d, lead: (d.real(*lead, 8, 2),), {"window": 2, "strides": 3}, leads=FLAT),
    Kind("uneven", lambda d, lead: (d.real(*lead, 6, 2),),
         {"window": (3,), "strides": 2, "padding": ((2, 1),)}, leads=FLAT),
]  # fmt: skip

_VALID_COUNT = Kind(
    "real_entries",
    lambda d, lead: (d.real(*lead, 5, 4, 2),),
    {"window": (3, 2), "strides": (2, 1), "padding": "SAME", "count_include_pad": False},
    leads=FLAT,
)

CASES = cases({"conv": _CONV, "pool.max": _POOL, "pool.average": [*_POOL, _VALID_COUNT]})
