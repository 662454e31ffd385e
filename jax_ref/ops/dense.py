"""Affine map of the last axis."""

from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float


@runtime_checkable
class Params(Protocol):
    """Anything with weights `w` (I, O) and a bias `b` (O,) or `None`."""

    @property
    def w(self) -> Float[Array, "I O"]:
        """The weights."""
        ...

    @property
    def b(self) -> Float[Array, "O"] | None:
        """The bias."""
        ...


def apply(params: Params, x: Float[Array, "*B I"]) -> Float[Array, "*B O"]:
    """`x @ w + b` in the dtype of `x`, than which the params may be wider."""
    y = x @ params.w.astype(x.dtype)
    b = params.b
    return y if b is None else y + jnp.expand_dims(b.astype(x.dtype), tuple(range(y.ndim - 1)))
