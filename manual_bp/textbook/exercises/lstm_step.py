"""A step of an LSTM.

The state is two arrays (B, H), h and c, one on the other: s (2, B, H). With an
input x (B, I), four gates of H numbers each, s() the sigmoid:

    z = x W + h U + b                           z (B, 4H)                  (1)
    i, f, g, o = s(z_1), s(z_2), tanh(z_3), s(z_4)    z_1..z_4 of z        (2)
    c' = f c + i g                                                         (3)
    h' = o tanh(c')                                                        (4)

and out comes s' (2, B, H), of h' and c'. Given ds' (2, B, H), write dx (B, I),
ds (2, B, H), dW (I, 4H), dU (H, 4H) and db (4H,). Kept are t = tanh(c') and
gates (4, B, H), the arrays i, f, g and o.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from manual_bp.textbook.exercises.exercise import normal

SAVED = ("x", "s", "W", "U", "gates", "t")
RETURNS = ("dx", "ds", "dW", "dU", "db")
HINT = """c' has two uses: it comes out, and it is in h'. So ds'[1] is only a part of dc'. From (3) c and the
three gates i, f and g get theirs, o gets its own from (4); then each gate's slope by what the gate is,
and (1) is exercise 3 twice."""

Residuals = tuple[
    Float[Array, "B I"],
    Float[Array, "2 B H"],
    Float[Array, "I 4H"],
    Float[Array, "H 4H"],
    Float[Array, "4 B H"],
    Float[Array, "B H"],
]


def example() -> tuple[Array, ...]:
    """An x, an s, a W, a U and a b."""
    return normal((3, 4), (2, 3, 2), (4, 8), (2, 8), (8,))


def fwd(
    x: Float[Array, "B I"],
    s: Float[Array, "2 B H"],
    W: Float[Array, "I 4H"],
    U: Float[Array, "H 4H"],
    b: Float[Array, " 4H"],
) -> tuple[Float[Array, "2 B H"], Residuals]:
    """The next state."""
    h, c = s
    z1, z2, z3, z4 = jnp.split(x @ W + h @ U + b[None], 4, axis=-1)  # (1)
    i, f, g, o = jax.nn.sigmoid(z1), jax.nn.sigmoid(z2), jnp.tanh(z3), jax.nn.sigmoid(z4)  # (2)
    c_new = f * c + i * g  # (3)
    t = jnp.tanh(c_new)
    return jnp.stack([o * t, c_new]), (x, s, W, U, jnp.stack([i, f, g, o]), t)  # (4)


def bwd(
    residuals: Residuals, ds_new: Float[Array, "2 B H"]
) -> tuple[
    Float[Array, "B I"],
    Float[Array, "2 B H"],
    Float[Array, "I 4H"],
    Float[Array, "H 4H"],
    Float[Array, " 4H"],
]:
    """The solution."""
    x, s, W, U, (i, f, g, o), t = residuals
    (h, c), (dh_new, dc_new) = s, ds_new
    dc_new = dc_new + dh_new * o * (1 - t**2)  # by (4): c' comes out, and is in h'
    di, df, dg, do = dc_new * g, dc_new * c, dc_new * i, dh_new * t  # by (3), (4)
    dz = [di * i * (1 - i), df * f * (1 - f), dg * (1 - g**2), do * o * (1 - o)]  # by (2)
    dz = jnp.concatenate(dz, axis=-1)
    ds = jnp.stack([dz @ U.T, dc_new * f])  # h by (1), c by (3)
    return dz @ W.T, ds, x.T @ dz, h.T @ dz, jnp.sum(dz, axis=0)
