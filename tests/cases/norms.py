"""Normalisations."""

from typing import Any

from manual_bp.ops import batch_norm, group_norm, layer_norm, rms_norm
from tests.cases.case import FLAT, Draw, Kind, cases


def gains(d: Draw, kind: Any, channels: int) -> Any:
    """Params with gains and biases."""
    return kind(d.real(channels), d.real(channels))


def statistics(d: Draw, channels: int) -> Any:
    """A mean, and a variance that is positive."""
    return batch_norm.Statistics(d.real(channels), d.rng.uniform(0.5, 2, channels))  # pyright: ignore[reportArgumentType]


def _batch(d: Draw, *shape: int) -> tuple:
    return gains(d, batch_norm.Params, shape[-1]), d.real(*shape)


def _group(d: Draw, *shape: int) -> tuple:
    return gains(d, group_norm.Params, shape[-1]), d.real(*shape)


def _layer(d: Draw, *shape: int) -> tuple:
    return gains(d, layer_norm.Params, shape[-1]), d.real(*shape)


def _rms(d: Draw, *shape: int) -> tuple:
    return rms_norm.Params(d.real(shape[-1])), d.real(*shape)  # pyright: ignore[reportArgumentType]


def _no_bias(args: tuple) -> tuple:
    return args[0]._replace(b=None), *args[1:]


CASES = cases(
    {
        "layer_norm": [
            Kind("bias", lambda d, lead: _layer(d, *lead, 5)),
            Kind("no_bias", lambda d, lead: _no_bias(_layer(d, *lead, 5)), {"eps": 0.1}, leads=FLAT),
        ],
        "rms_norm": [
            Kind("gain", lambda d, lead: _rms(d, *lead, 5)),
            Kind(
                "unit_offset",
                lambda d, lead: _rms(d, *lead, 5),
                {"unit_offset": True, "eps": 0.1},
                leads=FLAT,
            ),
        ],
        "group_norm": [
            Kind("image", lambda d, lead: _group(d, lead[0], 3, 2, 6), {"groups": 3}, leads=FLAT),
            Kind("row", lambda d, lead: _no_bias(_group(d, lead[0], 6)), {"groups": 2}, leads=FLAT),
        ],
        "batch_norm": [
            Kind("image", lambda d, lead: _batch(d, *lead, 2, 3)),
            Kind("no_bias", lambda d, lead: _no_bias(_batch(d, *lead, 3)), {"eps": 0.1}, leads=FLAT),
        ],
        "frozen_batch_norm": [
            Kind("image", lambda d, lead: (*_batch(d, *lead, 2, 3), statistics(d, 3))),
        ],
    }
)
