r"""Soft cap of scores and of logits.

    u     = C tanh(s / C)                                           (1)
    du/ds = 1 - t^2 = (1 - t)(1 + t),    t = tanh(s / C)            (2)

The product has the digits that 1 - t^2 loses where t is nearly 1.  Gemma Team 2024, arXiv:2408.00118.
"""

from math import inf
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from manual_bp import checks


def capped(
    s: Float[Array, "..."], soft_cap: float | None
) -> tuple[Float[Array, "..."], Float[Array, "..."] | None]:
    """u and its slope du/ds; `s` and None without a cap."""
    if soft_cap is None:
        return s, None
    cap = float(soft_cap)
    t = jnp.tanh(s / cap)
    return cap * t, (1 - t) * (1 + t)  # (1), (2)


def check(op: str, soft_cap: Any) -> None:
    """Raise unless it is a cap, or None."""
    if soft_cap is not None:
        checks.number(op, "soft_cap", soft_cap, lambda c: 0 < c < inf, "None or a positive number")
