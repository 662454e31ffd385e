r"""Logarithm of the softmax over one axis.   Axes: i, j run over `axis`; every other axis is a batch.

    y_i  = (x_i - m) - log sum_j e^(x_j - m),    m = max_j x_j      (1)

    dx_i = dy_i - e^(y_i) sum_j dy_j                                (2)

With a mask the maximum and both sums run over the allowed entries; the others have y = -inf and a zero
gradient, and a row that allows nothing is zero with a zero gradient.

Saved: x, the mask, and per row m and the sum. e^(y_i) is e^(x_i - m) over the sum, and XLA takes that
exponential from the forward pass where both are in one program; from y itself it would have only the digits
of y: none after the point for y = -100 in bfloat16.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from manual_bp import checks
from manual_bp.ops import softmax
from manual_bp.precision import wide


class Residuals(NamedTuple):
    """The inputs, and m and sum e^(x - m), which have length 1 along the axis."""

    x: Float[Array, "*B"]
    mask: Bool[Array, "..."] | None
    maximum: Float[Array, "..."]
    total: Float[Array, "..."]


def fwd(
    x: Float[Array, "*B"], mask: Bool[Array, "..."] | None = None, *, axis: int = -1
) -> tuple[Float[Array, "*B"], Residuals]:
    """Log-probabilities `y` along `axis`; `mask` broadcasts to `x` and is true where allowed."""
    softmax.check("log_softmax", x, mask, axis)
    y, m, total = _log_softmax(x, mask, axis=axis)
    return y, Residuals(x, mask, m, total)


def bwd(res: Residuals, dy: Float[Array, "*B"], *, axis: int = -1) -> Float[Array, "*B"]:
    """The cotangent of `x`."""
    softmax.check("log_softmax", res.x, res.mask, axis)
    checks.cotangent("log_softmax", "dy", dy, res.x)
    return _dx(res, dy, axis=axis)


@partial(jax.jit, static_argnames="axis")
def _log_softmax(
    x: Float[Array, "*B"], mask: Bool[Array, "..."] | None, *, axis: int
) -> tuple[Float[Array, "*B"], Float[Array, "..."], Float[Array, "..."]]:
    """y, m and the sum, in one program without the caller's `jit` too."""
    x_ = wide(x)
    m, total = softmax.statistics(x_, mask, axis)
    y = (x_ - m) - jnp.log(total)  # (1)
    if mask is not None:
        some = jnp.any(jnp.broadcast_to(mask, x.shape), axis, keepdims=True)
        y = _where(mask, y, jnp.where(some, -jnp.inf, 0))
    return y.astype(x.dtype), m, total


@partial(jax.jit, static_argnames="axis")
def _dx(res: Residuals, dy: Float[Array, "*B"], *, axis: int) -> Float[Array, "*B"]:
    x, mask, m, total = res
    x_, dy_ = wide(x), wide(dy)
    if mask is not None:
        x_, dy_ = _where(mask, x_, -jnp.inf), _where(mask, dy_, 0.0)
    dx = dy_ - jnp.exp(x_ - m) * (jnp.sum(dy_, axis, keepdims=True) / total)  # (2)
    if mask is not None:
        dx = _where(mask, dx, 0.0)
    return dx.astype(x.dtype)


def _where(mask: Bool[Array, "..."], x: Float[Array, "*B"], other: Array | float) -> Float[Array, "*B"]:
    """`x` where it is allowed."""
    return jnp.where(jnp.broadcast_to(mask, x.shape), x, other)
