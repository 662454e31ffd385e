"""Backpropagation through time.

A state of H numbers goes through T steps by the same matrix, from h_0 = 0:

    h_t = tanh(x_t + h_(t-1) U)                 x_t, h_t (B, H), U (H, H)  (1)

Arrays hold the steps t = 1..T along their first axis: x and h are (T, B, H),
without h_0. Given dh (T, B, H), what comes back to each h_t from outside,
write dx (T, B, H) and dU (H, H).
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from manual_bp.textbook.exercises.exercise import normal

SAVED = ("h", "U")
RETURNS = ("dx", "dU")
HINT = """Go from t = T down to 1. h_t has two uses: the output, by which dh_t comes back, and step
t + 1, by which something comes back if t < T. They add. U is used in every step: its gradient is a
sum over t."""

Residuals = tuple[Float[Array, "T B H"], Float[Array, "H H"]]


def example() -> tuple[Array, ...]:
    """An x and a U."""
    return normal((3, 2, 4), (4, 4))


def fwd(x: Float[Array, "T B H"], U: Float[Array, "H H"]) -> tuple[Float[Array, "T B H"], Residuals]:
    """The states h_1, ..., h_T."""
    h, states = jnp.zeros_like(x[0]), []
    for x_t in x:
        h = jnp.tanh(x_t + h @ U)  # (1)
        states.append(h)
    return jnp.stack(states), (jnp.stack(states), U)


def bwd(residuals: Residuals, dh: Float[Array, "T B H"]) -> tuple[Float[Array, "T B H"], Float[Array, "H H"]]:
    """The solution."""
    h, U = residuals
    later, dz, dU = jnp.zeros_like(h[0]), [], jnp.zeros_like(U)
    for t in reversed(range(len(h))):
        dz_t = (dh[t] + later) * (1 - h[t] ** 2)  # h_t is in the output and in step t + 1: the two add
        dz.append(dz_t)
        if t > 0:
            dU += h[t - 1].T @ dz_t  # U is in every step
        later = dz_t @ U.T
    return jnp.stack(dz[::-1]), dU
