"""Division by the root of the mean square of the last axis."""

from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax_ref.precision import at_least_float32


@runtime_checkable
class Params(Protocol):
    """Anything with gains `g` (I,)."""

    @property
    def g(self) -> Float[Array, "I"]:
        """The gains."""
        ...


def apply(
    params: Params, x: Float[Array, "*B I"], *, eps: float = 1e-6, unit_offset: bool = False
) -> Float[Array, "*B I"]:
    """`x / sqrt(mean(x^2) + eps) * g`, or `* (1 + g)`."""
    x_ = at_least_float32(x)
    xhat = (x_ * jax.lax.rsqrt(jnp.mean(x_**2, -1, keepdims=True) + eps)).astype(x.dtype)
    g = params.g.astype(x.dtype)
    return xhat * jnp.expand_dims(1 + g if unit_offset else g, tuple(range(x.ndim - 1)))
