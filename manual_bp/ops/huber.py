r"""Huber's loss, one value per example: squared near the target, linear far away.

Axes: B leading, I features. k is the static option `delta`, e = y - t.

    l_b   = sum_i h(e_bi),   h(e) = e^2/2          where |e| <= k
                                    k (|e| - k/2)  elsewhere        (1)

    dy_bi = dl_b min(max(e_bi, -k), k)                              (2)
    dt_bi = -dy_bi                                                  (3)

Saved: the clipped error, which is h'(e).  Huber 1964, doi:10.1214/aoms/1177703732.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from manual_bp import checks
from manual_bp.ops import squared_error
from manual_bp.precision import wide


def fwd(
    y: Float[Array, "*B I"], t: Float[Array, "*B I"], *, delta: float = 1.0
) -> tuple[Float[Array, "*B"], Float[Array, "*B I"]]:
    """The loss of each example, for outputs `y` and targets `t`."""
    squared_error.check("huber", y, t)
    checks.option("huber", "delta", delta, delta > 0, "a positive number")
    e = y - t
    c = jnp.clip(e, -delta, delta)
    loss = jnp.sum(wide(c) * (wide(e) - wide(c) / 2), -1)  # (1): e^2/2 inside, k (|e| - k/2) outside
    return loss.astype(y.dtype), c


def bwd(
    c: Float[Array, "*B I"], dloss: Float[Array, "*B"], *, delta: float = 1.0
) -> tuple[Float[Array, "*B I"], Float[Array, "*B I"]]:
    """The cotangents of `y` and of `t`; `delta` is already in the clipped error."""
    return squared_error.bwd(c, dloss)  # (2), (3)
