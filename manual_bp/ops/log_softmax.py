r"""Logarithm of the softmax over one axis.   Axes: i, j run over `axis`; every other axis is a batch.

    y_i  = (x_i - m) - log sum_j e^(x_j - m),    m = max_j x_j      (1)

    dx_i = dy_i - e^(y_i) sum_j dy_j                                (2)

With a mask the maximum and both sums run over the allowed entries; the others have y = -inf and a zero
gradient, and a row that allows nothing is zero with a zero gradient.

Saved: y and the mask.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from manual_bp import checks
from manual_bp.ops import softmax
from manual_bp.precision import wide


class Residuals(NamedTuple):
    """The output and the caller's mask."""

    y: Float[Array, "*B"]
    mask: Bool[Array, "..."] | None


def fwd(
    x: Float[Array, "*B"], mask: Bool[Array, "..."] | None = None, *, axis: int = -1
) -> tuple[Float[Array, "*B"], Residuals]:
    """Log-probabilities `y` along `axis`; `mask` broadcasts to `x` and is true where allowed."""
    softmax.check("log_softmax", x, mask, axis)
    shifted, total = softmax.shift(wide(x), mask, axis)
    y = shifted - jnp.log(total)  # (1)
    if mask is not None:
        y = jnp.where(jnp.any(jnp.broadcast_to(mask, x.shape), axis, keepdims=True), y, 0)
    y = y.astype(x.dtype)
    return y, Residuals(y, mask)


def bwd(res: Residuals, dy: Float[Array, "*B"], *, axis: int = -1) -> Float[Array, "*B"]:
    """The cotangent of `x`."""
    y, mask = res
    checks.cotangent("log_softmax", "dy", dy, y)
    allowed = True if mask is None else jnp.broadcast_to(mask, y.shape)
    dy_ = jnp.where(allowed, wide(dy), 0)
    dx = dy_ - jnp.exp(wide(y)) * jnp.sum(dy_, axis, keepdims=True)  # (2)
    dx = jnp.where(allowed, dx, 0)  # a row that allows nothing has y = 0, not -inf
    return dx.astype(y.dtype)
