"""Batch normalisation by statistics that are given."""

from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax_ref.ops.group_norm import Params


@runtime_checkable
class Statistics(Protocol):
    """Anything with a `mean` (C,) and a `var` (C,)."""

    @property
    def mean(self) -> Float[Array, "C"]:
        """The mean of each channel."""
        ...

    @property
    def var(self) -> Float[Array, "C"]:
        """The variance of each channel."""
        ...


def apply(
    params: Params, x: Float[Array, "*B C"], statistics: Statistics, *, eps: float = 1e-5
) -> Float[Array, "*B C"]:
    """`(x - mean) / sqrt(var + eps) * g + b`."""
    over = tuple(range(x.ndim - 1))
    mean, var = (jnp.expand_dims(s, over) for s in (statistics.mean, statistics.var))
    xhat = (x.astype(mean.dtype) - mean) * jax.lax.rsqrt(var + eps)
    y = xhat.astype(x.dtype) * jnp.expand_dims(params.g.astype(x.dtype), over)
    return y if params.b is None else y + jnp.expand_dims(params.b.astype(x.dtype), over)
