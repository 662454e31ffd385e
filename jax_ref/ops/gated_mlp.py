"""Gated multi-layer perceptron."""

from typing import Any

from jaxtyping import Array, Float

from jax_ref.ops import activations, dense


def apply(params: Any, x: Float[Array, "*B I"], *, activation: str = "silu") -> Float[Array, "*B O"]:
    """The activation of one product times another, and the product of both."""
    gate, up = dense.apply(params.gate, x), dense.apply(params.up, x)
    return dense.apply(params.down, getattr(activations, activation)(gate) * up)
