"""Normalisations."""

from manual_bp.ops import batch_norm, group_norm, rms_norm
from tests.cases.case import FLAT, Draw, Kind, cases


def gains(d: Draw, kind: type, channels: int) -> tuple:
    """Params with gains and biases."""
    return kind(d.real(channels), d.real(channels))


def statistics(d: Draw, channels: int) -> batch_norm.Statistics:
    """A mean, and a variance that is positive wherever the arguments are moved."""
    return batch_norm.Statistics(d.real(channels), d.rng.uniform(0.5, 2, channels))  # pyright: ignore[reportArgumentType]


CASES = cases(
    {
        "rms_norm": [
            Kind("gain", lambda d, lead: (rms_norm.Params(d.real(5)), d.real(*lead, 5))),
            Kind("unit_offset", lambda d, lead: (rms_norm.Params(d.real(5)), d.real(*lead, 5)),
                 {"unit_offset": True, "eps": 1e-3}, leads=FLAT),
        ],
        "group_norm": [
            Kind("image", lambda d, lead: (gains(d, group_norm.Params, 6), d.real(lead[0], 3, 2, 6)),
                 {"groups": 3}, leads=FLAT),
            Kind("row", lambda d, lead: (gains(d, group_norm.Params, 6)._replace(b=None), d.real(lead[0], 6)),
                 {"groups": 2}, leads=FLAT),
        ],
        "batch_norm": [
            Kind("image", lambda d, lead: (gains(d, batch_norm.Params, 3), d.real(*lead, 2, 3, 3))),
            Kind("no_bias", lambda d, lead: (gains(d, batch_norm.Params, 3)._replace(b=None), d.real(*lead, 3)),
                 leads=FLAT),
        ],
        "frozen_batch_norm": [
            Kind("image", lambda d, lead: (gains(d, batch_norm.Params, 3), d.real(*lead, 2, 3), statistics(d, 3))),
        ],
    }
)  # fmt: skip
