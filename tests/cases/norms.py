"""Normalisations."""

from manual_bp.ops import layer_norm
from tests.cases.case import FLAT, Draw, Kind, cases


def _layer_norm(d: Draw, lead: tuple[int, ...]) -> tuple:
    return layer_norm.Params(d.real(5), d.real(5)), d.real(*lead, 5)  # pyright: ignore[reportArgumentType]


CASES = cases(
    {
        "layer_norm": [
            Kind("bias", _layer_norm),
            Kind(
                "no_bias",
                lambda d, lead: (layer_norm.Params(d.real(5), None), d.real(*lead, 5)),  # pyright: ignore[reportArgumentType]
                {"eps": 0.1},
                leads=FLAT,
            ),
        ],
    }
)
