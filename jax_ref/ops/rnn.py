"""The plain recurrent network, step by step."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer


@runtime_checkable
class Params(Protocol):
    """Anything with `w_x` (I, H), `w_h` (H, H) and `b` (H,) or `None`."""

    @property
    def w_x(self) -> Float[Array, "I H"]:
        """The weights of the input."""
        ...

    @property
    def w_h(self) -> Float[Array, "H H"]:
        """The weights of the state."""
        ...

    @property
    def b(self) -> Float[Array, "H"] | None:
        """The biases."""
        ...


def apply(
    params: Params,
    x: Float[Array, "B T I"],
    state: Float[Array, "B H"],
    lengths: Integer[Array, "B"] | None = None,
    *,
    activation: str = "tanh",
    reverse: bool = False,
) -> tuple[Float[Array, "B T H"], Float[Array, "B H"]]:
    """The outputs (B, T, H) and the final state."""
    f = {"tanh": jnp.tanh, "relu": jax.nn.relu}[activation]
    w_x, w_h = (w.astype(x.dtype) for w in (params.w_x, params.w_h))

    def cell(h: Array, x_t: Array) -> tuple[Array, Array]:
        z = x_t @ w_x + h @ w_h
        h = f(z if params.b is None else z + params.b.astype(x.dtype)[None])
        return h, h

    return over_time(cell, x, state, lengths, reverse)


def over_time(
    cell: Callable[[Any, Array], tuple[Any, Array]],
    x: Float[Array, "B T I"],
    state: Any,
    lengths: Integer[Array, "B"] | None,
    reverse: bool,
) -> tuple[Float[Array, "B T H"], Any]:
    """`cell` over the steps of `x`; beyond an example's length the state stays and the output is zero.

    Where a length is not in 0..T everything is NaN.
    """
    steps = x.shape[1]

    def step(state: Any, inputs: tuple[Array, Array]) -> tuple[Any, Array]:
        x_t, t = inputs
        if lengths is None:
            return cell(state, x_t)
        inside = (t < lengths.astype(jnp.int32))[:, None]
        new, y = cell(state, jnp.where(inside, x_t, 0))
        new = jax.tree.map(lambda a, b: jnp.where(inside, a, b), new, state)
        return new, jnp.where(inside, y, 0)

    numbers = jnp.arange(steps, dtype=jnp.int32)
    state, ys = jax.lax.scan(step, state, (jnp.swapaxes(x, 0, 1), numbers), reverse=reverse)
    ys = jnp.swapaxes(ys, 0, 1)
    if lengths is None:
        return ys, state
    good = (lengths.astype(jnp.int32) >= 0) & (lengths.astype(jnp.int32) <= steps)
    state = jax.tree.map(lambda s: jnp.where(good[:, None], s, jnp.nan), state)
    return jnp.where(good[:, None, None], ys, jnp.nan), state
