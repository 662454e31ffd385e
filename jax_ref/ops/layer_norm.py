"""Layer normalisation over the last axis."""

from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float


@runtime_checkable
class Params(Protocol):
    """Anything with a gain `g` (I,) and a bias `b` (I,) or `None`."""

    @property
    def g(self) -> Float[Array, "I"]:
        """The gain."""
        ...

    @property
    def b(self) -> Float[Array, "I"] | None:
        """The bias."""
        ...


def apply(params: Params, x: Float[Array, "*B I"], *, eps: float = 1e-5) -> Float[Array, "*B I"]:
    """Each row with mean 0 and variance 1, times `g`, plus `b`; in float32 at least, given back as `x` is."""
    wide = x.astype(jnp.float32) if x.dtype.itemsize < 4 else x

    def row(p: Float[Array, "I"]) -> Float[Array, "..."]:
        return jnp.expand_dims(p.astype(wide.dtype), tuple(range(x.ndim - 1)))

    deviation = wide - jnp.mean(wide, -1, keepdims=True)
    y = row(params.g) * deviation / jnp.sqrt(jnp.var(wide, -1, keepdims=True) + eps)
    return (y if params.b is None else y + row(params.b)).astype(x.dtype)
