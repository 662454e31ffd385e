r"""Huber's loss, one value per example: squared near the target, linear far away.

Axes: B leading, I features. k is the static option `delta`, e = y - t.

    l_b   = sum_i h(e_bi),   h(e) = e^2/2          where |e| <= k
                                    k (|e| - k/2)  elsewhere        (1)

    dy_bi = dl_b h'(e_bi),   h'(e) = e             where |e| <= k
                                     k sign(e)     elsewhere        (2)
    dt_bi = -dy_bi                                                  (3)

An example whose loss is not used (dl_b = 0) has a zero gradient, whatever it holds.

Saved: e.  Huber 1964, doi:10.1214/aoms/1177703732.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from manual_bp import checks
from manual_bp.precision import times, wide


def fwd(
    y: Float[Array, "*B I"], t: Float[Array, "*B I"], *, delta: float = 1.0
) -> tuple[Float[Array, "*B"], Float[Array, "*B I"]]:
    """The loss of each example, for outputs `y` and targets `t`."""
    checks.floating("huber", y=y, t=t)
    checks.features("huber", y=y)
    checks.same_as("huber", "t", t, "y", y)
    checks.number("huber", "delta", delta, lambda k: k > 0, "a positive number")
    e, delta = y - t, float(delta)
    a = wide(jnp.abs(e))
    loss = jnp.sum(jnp.where(a <= delta, a * a / 2, delta * (a - delta / 2)), -1)  # (1)
    return loss.astype(y.dtype), e


def bwd(
    e: Float[Array, "*B I"], dloss: Float[Array, "*B"], *, delta: float = 1.0
) -> tuple[Float[Array, "*B I"], Float[Array, "*B I"]]:
    """The cotangents of `y` and of `t`."""
    checks.per_example("huber", "dloss", dloss, e)
    dl = jnp.broadcast_to(dloss[..., None], e.shape)
    delta = float(delta)
    dy = times(dl, jnp.where(jnp.abs(e) <= delta, e, delta * jnp.sign(e)))  # (2)
    return dy, -dy  # (3)
