"""Activations: entry by entry, so that a second leading axis is nothing new."""

from tests.cases.case import FLAT, Draw, Kind, cases


def _z(d: Draw, lead: tuple[int, ...]) -> tuple:
    return (d.real(*lead, 5),)


_PLAIN = Kind("plain", _z, leads=FLAT)

CASES = cases(
    {
        "activations.identity": [_PLAIN],
        "activations.sigmoid": [_PLAIN],
        "activations.tanh": [_PLAIN],
        "activations.relu": [_PLAIN],
        "activations.leaky_relu": [_PLAIN, Kind("negative_slope", _z, {"slope": -0.25}, leads=FLAT)],
        "activations.elu": [_PLAIN, Kind("alpha", _z, {"alpha": 1.5}, full=True, leads=FLAT)],
        "activations.softplus": [_PLAIN],
        "activations.silu": [_PLAIN],
        "activations.gelu": [_PLAIN],
        "activations.gelu_tanh": [_PLAIN],
        "activations.relu_squared": [_PLAIN],
        "activations.hard_tanh": [_PLAIN],
    }
)
