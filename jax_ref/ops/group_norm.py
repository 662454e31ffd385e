"""Normalisation of each example over its spatial axes and groups of channels."""

from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax_ref.precision import at_least_float32


@runtime_checkable
class Params(Protocol):
    """Anything with gains `g` (C,) and biases `b` (C,) or `None`."""

    @property
    def g(self) -> Float[Array, "C"]:
        """The gains."""
        ...

    @property
    def b(self) -> Float[Array, "C"] | None:
        """The biases."""
        ...


def apply(
    params: Params, x: Float[Array, "B *S C"], *, groups: int, eps: float = 1e-5
) -> Float[Array, "B *S C"]:
    """`(x - mean) / sqrt(var + eps) * g + b`, example by example and group by group."""
    split = at_least_float32(x).reshape(x.shape[0], -1, groups, x.shape[-1] // groups)
    mean, var = jnp.mean(split, (1, 3), keepdims=True), jnp.var(split, (1, 3), keepdims=True)
    xhat = ((split - mean) * jax.lax.rsqrt(var + eps)).reshape(x.shape).astype(x.dtype)
    lead = tuple(range(x.ndim - 1))
    y = xhat * jnp.expand_dims(params.g.astype(x.dtype), lead)
    return y if params.b is None else y + jnp.expand_dims(params.b.astype(x.dtype), lead)
