"""Softmax.

Each row of z becomes V probabilities:

    p_bv = e^(z_bv) / sum_w e^(z_bw)            z, p (B, V)                (1)

Given dp (B, V), write dz (B, V) from p alone.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manual_bp.textbook.exercises.exercise import normal

SAVED = ("p",)
RETURNS = ("dz",)
HINT = """Every p_w of a row depends on every z_v of it: dp_w/dz_v = p_w ([w = v] - p_v). Sum over w
what comes back by each; the V x V matrix need not be formed, as the sum has two simple terms."""


def example() -> tuple[Array, ...]:
    """A z."""
    return normal((4, 5))


def fwd(z: Float[Array, "B V"]) -> tuple[Float[Array, "B V"], Float[Array, "B V"]]:
    """The probabilities, which are kept too."""
    p = jax.nn.softmax(z, axis=-1)  # (1)
    return p, p


def bwd(residuals: Float[Array, "B V"], dp: Float[Array, "B V"]) -> Float[Array, "B V"]:
    """The solution."""
    p = residuals
    back = p * dp  # the terms w = v of dz_v = sum_w dp_w p_w ([w = v] - p_v)
    return back - p * jnp.sum(back, axis=-1, keepdims=True)  # and the rest of it
