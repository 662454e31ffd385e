"""One file per op: `apply`, the plain forward; in `activations` one function per member."""

from jax_ref.ops import (
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
