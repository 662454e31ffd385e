"""Ops over time, and couplings of streams."""

from typing import Any, NamedTuple

import numpy as np

from manual_bp.ops import activations, dense, gru, lstm, rnn
from tests.cases.case import FLAT, Draw, Kind, cases
from tests.cases.linear import affine


class Pair(NamedTuple):
    """A hand-written pair."""

    fwd: Any
    bwd: Any


def _squashed_fwd(params, x):
    z, res = dense.fwd(params, x)
    return activations.tanh.fwd(z)[0], (res, activations.tanh.fwd(z)[1])


def _squashed_bwd(params, res, da):
    return dense.bwd(params, res[0], activations.tanh.bwd(res[1], da))


SQUASHED = Pair(_squashed_fwd, _squashed_bwd)
"""A dense layer with tanh."""


def weights(d: Draw, kind: type, i: int, h: int, biases: int = 1) -> Any:
    """Params of a recurrent op of `i` features in and a state of `h`."""
    gates = len(getattr(__import__(kind.__module__, fromlist=["GATES"]), "GATES", "h"))
    return kind(d.real(i, gates * h), d.real(h, gates * h), *(d.real(gates * h) for _ in range(biases)))


def lengths(lead: tuple[int, ...], steps: int) -> np.ndarray:
    """Lengths from none to all steps."""
    return (np.arange(lead[0]) * 2 + 1) % (steps + 1)


def lstm_state(d: Draw, batch: int, h: int) -> lstm.State:
    """A first state."""
    return lstm.State(d.real(batch, h), d.real(batch, h))  # pyright: ignore[reportArgumentType]


def _stacked(d: Draw, layers: int, width: int) -> dense.Params:
    return dense.Params(0.3 * d.real(layers, width, width), d.real(layers, width))  # pyright: ignore[reportArgumentType]


CASES = cases(
    {
        "rnn": [
            Kind("plain", lambda d, lead: (weights(d, rnn.Params, 2, 3), d.real(lead[0], 3, 2), d.real(lead[0], 3), None), leads=FLAT),
            Kind("relu_lengths", lambda d, lead: (weights(d, rnn.Params, 2, 3), d.real(lead[0], 3, 2), d.real(lead[0], 3), lengths(lead, 3)), {"activation": "relu", "reverse": True}, leads=FLAT),
        ],
        "lstm": [
            Kind("plain", lambda d, lead: (weights(d, lstm.Params, 2, 3), d.real(lead[0], 3, 2), lstm_state(d, lead[0], 3), None), leads=FLAT),
            Kind("lengths", lambda d, lead: (weights(d, lstm.Params, 2, 3)._replace(b=None), d.real(lead[0], 3, 2), lstm_state(d, lead[0], 3), lengths(lead, 3)), leads=FLAT),
            Kind("reverse", lambda d, lead: (weights(d, lstm.Params, 2, 3), d.real(lead[0], 3, 2), lstm_state(d, lead[0], 3), lengths(lead, 3)), {"reverse": True}, leads=FLAT),
        ],
        "gru": [
            Kind("after", lambda d, lead: (weights(d, gru.Params, 2, 3, 2), d.real(lead[0], 3, 2), d.real(lead[0], 3), None), leads=FLAT),
            Kind("before", lambda d, lead: (weights(d, gru.Params, 2, 3, 2), d.real(lead[0], 3, 2), d.real(lead[0], 3), lengths(lead, 3)), {"reset_after": False}, full=True, leads=FLAT),
            Kind("reverse", lambda d, lead: (weights(d, gru.Params, 2, 3, 2)._replace(b_x=None), d.real(lead[0], 3, 2), d.real(lead[0], 3), lengths(lead, 3)), {"reverse": True}, leads=FLAT),
        ],
        "reversible": [
            Kind("dense", lambda d, lead: ((affine(d, 3, 3), affine(d, 3, 3)), d.real(*lead, 3), d.real(*lead, 3)), {"f": SQUASHED, "g": SQUASHED}),
            Kind("no_params", lambda d, lead: ((None, affine(d, 3, 3)), d.real(*lead, 3), d.real(*lead, 3)), {"f": activations.tanh, "g": SQUASHED}, leads=FLAT),
        ],
        "reversible_stack": [
            Kind("dense", lambda d, lead: ((_stacked(d, 3, 2), _stacked(d, 3, 2)), d.real(*lead, 2), d.real(*lead, 2)), {"f": SQUASHED, "g": SQUASHED}),
        ],
    }
)  # fmt: skip
