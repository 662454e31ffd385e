"""Ops with ids or with chance."""

import jax

from manual_bp.ops import embedding
from tests.cases.case import FLAT, Kind, cases

CASES = cases(
    {
        "embedding": [
            Kind("ids", lambda d, lead: (embedding.Params(d.real(5, 3)), d.labels(lead, 5))),  # pyright: ignore
            Kind(
                "outside", lambda d, lead: (embedding.Params(d.real(5, 3)), d.labels(lead, 9) - 2), leads=FLAT
            ),  # pyright: ignore
        ],
        "dropout": [
            Kind(
                "some",
                lambda d, lead: (d.real(*lead, 5), jax.random.key(int(d.labels((), 99)))),
                {"rate": 0.3},
            ),
            Kind("all", lambda d, lead: (d.real(*lead, 5), jax.random.key(3)), {"rate": 1.0}, leads=FLAT),
            Kind("none", lambda d, lead: (d.real(*lead, 5), jax.random.key(3)), {"rate": 0.0}, leads=FLAT),
        ],
    }
)
