"""The gated recurrent unit, step by step."""

from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from jax_ref.ops.rnn import over_time


@runtime_checkable
class Params(Protocol):
    """Anything with `w_x` (I, 3H), `w_h` (H, 3H), `b_x` and `b_h` (3H,) or `None`, in the order r, z, n."""

    @property
    def w_x(self) -> Float[Array, "I A"]:
        """The weights of the input."""
        ...

    @property
    def w_h(self) -> Float[Array, "H A"]:
        """The weights of the state."""
        ...

    @property
    def b_x(self) -> Float[Array, "A"] | None:
        """The biases of the input's part."""
        ...

    @property
    def b_h(self) -> Float[Array, "A"] | None:
        """The biases of the state's part."""
        ...


def apply(
    params: Params,
    x: Float[Array, "B T I"],
    state: Float[Array, "B H"],
    lengths: Integer[Array, "B"] | None = None,
    *,
    reset_after: bool = True,
    reverse: bool = False,
) -> tuple[Float[Array, "B T H"], Float[Array, "B H"]]:
    """The outputs (B, T, H) and the final state."""
    xr, xz, xn = jnp.split(params.w_x.astype(x.dtype), 3, axis=-1)
    hr, hz, hn = jnp.split(params.w_h.astype(x.dtype), 3, axis=-1)
    zeros = jnp.zeros(params.w_x.shape[-1], x.dtype)
    bxr, bxz, bxn = jnp.split(zeros if params.b_x is None else params.b_x.astype(x.dtype), 3)
    bhr, bhz, bhn = jnp.split(zeros if params.b_h is None else params.b_h.astype(x.dtype), 3)

    def cell(h: Array, x_t: Array) -> tuple[Array, Array]:
        r = jax.nn.sigmoid(x_t @ xr + bxr[None] + h @ hr + bhr[None])
        z = jax.nn.sigmoid(x_t @ xz + bxz[None] + h @ hz + bhz[None])
        if reset_after:
            n = jnp.tanh(x_t @ xn + bxn[None] + r * (h @ hn + bhn[None]))
        else:
            n = jnp.tanh(x_t @ xn + bxn[None] + (r * h) @ hn + bhn[None])
        h = (1 - z) * n + z * h
        return h, h

    return over_time(cell, x, state, lengths, reverse)
