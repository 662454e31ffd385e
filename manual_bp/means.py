r"""A mean in two parts, so that what is centred by it has all its digits.   Axes: B, some are summed.

    m = mean x, rounded,    e = mean (x - m),    x - mean x = (x - m) - e       (1)

An x far from zero has few digits of its distance from m, and the error of m is the same in every entry, so
that the sums of a backward pass add it up: behind an offset of 300 standard deviations a norm's gradient in
float32 would have an error of 1e-5 of its size, as autodiff's has. x - m itself is exact there, and e is that
error. As with m alone, entries whose sum is beyond the largest number have no mean.

Chan, Golub & LeVeque 1983 (the corrected two-pass algorithm).
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class Mean(NamedTuple):
    """The mean as rounded, and the mean of what it leaves; both with length 1 along the axes summed."""

    rounded: Float[Array, "*M"]
    rest: Float[Array, "*M"]


Axes = int | tuple[int, ...]


def mean(x: Float[Array, "*B"], *axes: Axes) -> Mean:
    """The mean of `x` in two parts, over some axes, and over others after that."""
    rounded = plain_mean(x, *axes)
    return Mean(rounded, plain_mean(x - rounded, *axes))


def plain_mean(x: Float[Array, "*B"], *axes: Axes) -> Float[Array, "*M"]:
    """The mean over some axes, and over others after that: axes apart take XLA long to sum at once."""
    for some in axes:
        x = jnp.mean(x, some, keepdims=True)
    return x


def deviation(x: Float[Array, "*B"], mean: Mean) -> Float[Array, "*B"]:
    """What is left of `x` without its mean."""
    return (x - mean.rounded) - mean.rest  # (1)
