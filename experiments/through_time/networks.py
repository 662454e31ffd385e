"""Recurrent layers before training, with the gain or the bias that is asked for."""

import math
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from manual_bp.ops import gru, lstm, rnn

FEATURES = 16
"""Of the input, normal with variance 1."""

KEEPS = {lstm: "f", gru: "z"}
"""The gate through which the state of a step comes from the one before."""


class Network(NamedTuple):
    """An op, its params, its first state of zeros, and its static options."""

    op: ModuleType
    params: Any
    state: Any
    static: dict[str, Any]


def plain(key: Key[Array, ""], width: int, gain: float, activation: str) -> Network:
    """The plain network, whose recurrent weights have the variance gain^2/H."""
    params = rnn.init(key, FEATURES, width, dtype=jnp.float64)
    w_h = gain / math.sqrt(width) * jax.random.normal(key, (width, width), jnp.float64)
    return Network(rnn, params._replace(w_h=w_h), jnp.zeros((1, width)), {"activation": activation})


def gated(op: ModuleType, key: Key[Array, ""], width: int, bias: float) -> Network:
    """An LSTM or a GRU, glorot weights, and the bias of the gate that keeps the state."""
    params = op.init(key, FEATURES, width, dtype=jnp.float64)
    b = bias * jnp.repeat(jnp.array([float(gate == KEEPS[op]) for gate in op.GATES]), width)
    zeros = jnp.zeros((1, width))
    if op is lstm:
        return Network(op, params._replace(b=b), lstm.State(zeros, zeros), {})
    return Network(op, params._replace(b_x=b, b_h=jnp.zeros_like(b)), zeros, {})
