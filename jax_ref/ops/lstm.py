"""Long short-term memory, step by step."""

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from jax_ref.ops.rnn import over_time


@runtime_checkable
class Params(Protocol):
    """Anything with `w_x` (I, 4H), `w_h` (H, 4H) and `b` (4H,) or `None`; gates in the order i, f, g, o."""

    @property
    def w_x(self) -> Float[Array, "I A"]:
        """The weights of the input."""
        ...

    @property
    def w_h(self) -> Float[Array, "H A"]:
        """The weights of the state."""
        ...

    @property
    def b(self) -> Float[Array, "A"] | None:
        """The biases."""
        ...


def apply(
    params: Params,
    x: Float[Array, "B T I"],
    state: Any,
    lengths: Integer[Array, "B"] | None = None,
    *,
    reverse: bool = False,
) -> tuple[Float[Array, "B T H"], Any]:
    """The outputs (B, T, H) and the final state; `state` has `h` and `c` (B, H)."""
    w_x, w_h = (w.astype(x.dtype) for w in (params.w_x, params.w_h))

    def cell(state: Any, x_t: Array) -> tuple[Any, Array]:
        z = x_t @ w_x + state.h @ w_h
        if params.b is not None:
            z = z + params.b.astype(x.dtype)[None]
        i, f, g, o = jnp.split(z, 4, axis=-1)
        c = jax.nn.sigmoid(f) * state.c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return type(state)(h, c), h

    return over_time(cell, x, state, lengths, reverse)
