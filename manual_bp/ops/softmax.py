r"""Softmax over one axis.   Axes: i, j run over `axis`; every other axis is a batch.

    p_i  = e^(x_i - m) / sum_j e^(x_j - m),    m = max_j x_j        (1)

    dx_i = p_i (dp_i - sum_j p_j dp_j)                              (2)
         = p_i (u_i - sum_j p_j u_j),    u_i = dp_i - sum_j p_j dp_j    (3)

(3) is (2) for a cotangent shifted by a constant, which changes nothing. Where one p is nearly 1, (2)
subtracts two nearly equal numbers and what is left of them is rounding; in (3) u is already small.

With a mask the maximum and the sum run over the allowed entries, the others have p = 0, and a row that
allows nothing is zero with a zero gradient.

The divisor in the code is max(sum, x_i - m). That is the sum, as the sum is at least 1 and x_i - m at most 0;
but it differs from entry to entry as far as XLA can see, which so computes (1) in one loop over the rows. By
the sum itself it makes three: up to the sum, the reciprocal of the sum, the product with it.

Saved: p.  Bridle 1990, doi:10.1007/978-3-642-76153-9_28.
"""

from numbers import Integral

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from manual_bp import checks
from manual_bp.precision import wide


def fwd(
    x: Float[Array, "*B"], mask: Bool[Array, "..."] | None = None, *, axis: int = -1
) -> tuple[Float[Array, "*B"], Float[Array, "*B"]]:
    """Probabilities `p` along `axis`; `mask` broadcasts to `x` and is true where an entry is allowed."""
    check("softmax", x, mask, axis)
    x_ = wide(x)
    m, total = statistics(x_, mask, axis)
    d = below(x_, mask, m)
    p = jnp.exp(d) / jnp.maximum(total, d)  # (1)
    p = p.astype(x.dtype)
    return p, p


def bwd(p: Float[Array, "*B"], dp: Float[Array, "*B"], *, axis: int = -1) -> Float[Array, "*B"]:
    """The cotangent of `x`."""
    checks.cotangent("softmax", "dp", dp, p)
    p_, dp_ = wide(p), wide(dp)
    u = dp_ - jnp.sum(p_ * dp_, axis, keepdims=True)
    dx = p_ * (u - jnp.sum(p_ * u, axis, keepdims=True))  # (3)
    return dx.astype(p.dtype)


def statistics(
    x: Float[Array, "*B"], mask: Bool[Array, "..."] | None, axis: int
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Along `axis`, kept with length 1: m, and sum_j e^(x_j - m); 0 and 1 where a row allows nothing."""
    if mask is None:
        m = jnp.max(x, axis, keepdims=True, initial=-jnp.inf)  # of an axis without entries too
        return m, jnp.sum(jnp.exp(x - m), axis, keepdims=True)
    allowed = jnp.broadcast_to(mask, x.shape)
    some = jnp.any(allowed, axis, keepdims=True)
    m = jnp.where(some, jnp.max(jnp.where(allowed, x, -jnp.inf), axis, keepdims=True, initial=-jnp.inf), 0)
    total = jnp.sum(jnp.where(allowed, jnp.exp(x - m), 0), axis, keepdims=True)
    return m, jnp.where(some, total, 1)


def below(
    x: Float[Array, "*B"], mask: Bool[Array, "..."] | None, m: Float[Array, "..."]
) -> Float[Array, "*B"]:
    """x_i - m, and -inf for what is not allowed."""
    return x - m if mask is None else jnp.where(jnp.broadcast_to(mask, x.shape), x - m, -jnp.inf)


def check(op: str, x: Array, mask: Array | None, axis: int) -> None:
    """Raise unless `axis` is one of `x` and `mask` a boolean array that broadcasts to it."""
    checks.floating(op, x=x)
    checks.features(op, x=x)
    in_range = isinstance(axis, Integral) and not isinstance(axis, bool) and -x.ndim <= axis < x.ndim
    checks.option(op, "axis", axis, in_range, f"an axis of x, whose shape is {x.shape}")
    if mask is not None:
        checks.array(op, "booleans", mask=mask)
        checks.dtype(op, "mask", mask, jnp.bool_)
        if mask.ndim > x.ndim or any(
            m not in (1, n) for m, n in zip(mask.shape[::-1], x.shape[::-1], strict=False)
        ):
            raise ValueError(
                f"{op}: mask has shape {mask.shape}; expected one that broadcasts to x's {x.shape}"
            )
