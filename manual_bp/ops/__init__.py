"""One file per op: its equations, `fwd` and `bwd`."""

from manual_bp.ops import (
    activations,
    dense,
    huber,
    log_softmax,
    sigmoid_cross_entropy,
    softmax,
    softmax_cross_entropy,
    squared_error,
)

__all__ = [
    "activations",
    "dense",
    "huber",
    "log_softmax",
    "sigmoid_cross_entropy",
    "softmax",
    "softmax_cross_entropy",
    "squared_error",
]
