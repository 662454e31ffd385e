"""Attention and what stands around it in a transformer."""

import numpy as np

from tests.cases.case import FLAT, Draw, Kind, cases

SMALL = {"block": (2, 3)}
"""Tiles that divide neither the queries nor the keys."""


def _attention(d: Draw, lead: tuple[int, ...], heads: int = 2, of_keys: int = 1) -> tuple:
    batch = lead[0]
    return d.real(batch, 5, heads, 2), d.real(batch, 4, of_keys, 2), d.real(batch, 4, of_keys, 2)


def _with_all(d: Draw, lead: tuple[int, ...]) -> tuple:
    segments = (np.sort(d.labels((lead[0], 5), 2)), np.sort(d.labels((lead[0], 4), 2)))
    mask = np.concatenate([d.mask(lead[0], 1, 5, 3), np.ones((lead[0], 1, 5, 1), bool)], -1)
    return *_attention(d, lead), d.real(2, 1, 4), mask, segments


def _causal(d: Draw, lead: tuple[int, ...]) -> tuple:
    return *_attention(d, lead, 4, 2), d.real(5, 4)


_CAUSAL = {"causal": True, "query_offset": -1, "soft_cap": 2.0}
_ALL = {"window": 2, "scale": -0.7}

CASES = cases(
    {
        "attention": [
            Kind("causal", _causal, _CAUSAL, leads=FLAT),
            Kind("tiles", _causal, _CAUSAL | SMALL, leads=FLAT),
            Kind("all", _with_all, _ALL | SMALL, leads=FLAT),
        ],
        "plain_attention": [
            Kind("causal", _causal, _CAUSAL, leads=FLAT),
            Kind("all", _with_all, _ALL, leads=FLAT),
        ],
    }
)
