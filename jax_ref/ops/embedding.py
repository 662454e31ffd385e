"""Rows of a table by their numbers."""

from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


@runtime_checkable
class Params(Protocol):
    """Anything with a `table` (V, D)."""

    @property
    def table(self) -> Float[Array, "V D"]:
        """The rows."""
        ...


def apply(params: Params, ids: Int[Array, "*B"]) -> Float[Array, "*B D"]:
    """`table[ids]`, and NaN for an id outside of the table."""
    table = params.table
    rows = jnp.take(table, jnp.clip(ids.astype(jnp.int32), 0, table.shape[0] - 1), axis=0)
    inside = (ids >= 0) & (ids.astype(jnp.int32) < table.shape[0])
    return jnp.where(inside[..., None], rows, jnp.nan)
