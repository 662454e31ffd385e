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


def recurrent(op: Any, d: Draw, lead: tuple[int, ...], biases: int = 1, *, padded: bool = True) -> tuple:
    """Arguments of a recurrent op: two features in, a state of three, three steps, and lengths of 0 to 3."""
    batch, gates = lead[0], len(getattr(op, "GATES", "h"))
    params = op.Params(
        d.real(2, 3 * gates), d.real(3, 3 * gates), *(d.real(3 * gates) for _ in range(biases))
    )
    h = d.real(batch, 3)
    state = op.State(h, d.real(batch, 3)) if hasattr(op, "State") else h
    return params, d.real(batch, 3, 2), state, (np.arange(batch) * 2 + 1) % 4 if padded else None


def _without(name: str, args: tuple) -> tuple:
    return args[0]._replace(**{name: None}), *args[1:]


def _streams(d: Draw, lead: tuple[int, ...]) -> tuple:
    return (affine(d, 3, 3), affine(d, 3, 3)), d.real(*lead, 3), d.real(*lead, 3)


def _stacked(d: Draw, lead: tuple[int, ...]) -> tuple:
    params = tuple(dense.Params(0.3 * d.real(3, 2, 2), d.real(3, 2)) for _ in "fg")  # pyright: ignore[reportArgumentType]
    return params, d.real(*lead, 2), d.real(*lead, 2)


COUPLED = {"f": SQUASHED, "g": SQUASHED}

CASES = cases(
    {
        "rnn": [
            Kind("plain", lambda d, lead: recurrent(rnn, d, lead, padded=False), leads=FLAT),
            Kind(
                "relu",
                lambda d, lead: recurrent(rnn, d, lead),
                {"activation": "relu", "reverse": True},
                leads=FLAT,
            ),
        ],
        "lstm": [
            Kind("lengths", lambda d, lead: recurrent(lstm, d, lead), leads=FLAT),
            Kind(
                "reverse",
                lambda d, lead: _without("b", recurrent(lstm, d, lead, padded=False)),
                {"reverse": True},
                leads=FLAT,
            ),
        ],
        "gru": [
            Kind("after", lambda d, lead: recurrent(gru, d, lead, 2), leads=FLAT),
            Kind(
                "before",
                lambda d, lead: recurrent(gru, d, lead, 2),
                {"reset_after": False},
                leads=FLAT,
            ),
            Kind(
                "reverse",
                lambda d, lead: _without("b_x", recurrent(gru, d, lead, 2, padded=False)),
                {"reverse": True},
                leads=FLAT,
            ),
        ],
        "reversible": [
            Kind("dense", _streams, COUPLED, leads=FLAT),
            Kind(
                "no_params",
                lambda d, lead: ((None, affine(d, 3, 3)), *_streams(d, lead)[1:]),
                {"f": activations.tanh, "g": SQUASHED},
                leads=FLAT,
            ),
        ],
        "reversible_stack": [Kind("dense", _stacked, COUPLED, leads=FLAT)],
    }
)
