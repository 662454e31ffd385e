r"""Half the squared distance, one value per example.   Axes: B leading, I features.

    l_b   = 1/2 sum_i (y_bi - t_bi)^2                               (1)

    dy_bi = dl_b (y_bi - t_bi)                                      (2)
    dt_bi = -dl_b (y_bi - t_bi)                                     (3)

An example whose loss is not used (dl_b = 0) has a zero gradient, whatever it holds.

Saved: y - t.  The mean of squares of other libraries is 2/I of this.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from manual_bp import checks
from manual_bp.precision import times, wide


def fwd(y: Float[Array, "*B I"], t: Float[Array, "*B I"]) -> tuple[Float[Array, "*B"], Float[Array, "*B I"]]:
    """The loss of each example, for outputs `y` and targets `t`."""
    checks.floating("squared_error", y=y, t=t)
    checks.features("squared_error", y=y)
    checks.same_as("squared_error", "t", t, "y", y)
    e = y - t
    loss = jnp.sum(jnp.square(wide(e)), -1) / 2  # (1)
    return loss.astype(y.dtype), e


def bwd(
    e: Float[Array, "*B I"], dloss: Float[Array, "*B"]
) -> tuple[Float[Array, "*B I"], Float[Array, "*B I"]]:
    """The cotangents of `y` and of `t`."""
    checks.per_example("squared_error", "dloss", dloss, e)
    dl = dloss[..., None]
    dy = times(dl, e)  # (2)
    return dy, -dy  # (3)
