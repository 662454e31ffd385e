"""Rows of a table by their numbers."""

from typing import Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Float, Integer


@runtime_checkable
class Params(Protocol):
    """Anything with a `table` (V, D)."""

    @property
    def table(self) -> Float[Array, "V D"]:
        """The rows."""
        ...


def apply(params: Params, ids: Integer[Array, "*B"]) -> Float[Array, "*B D"]:
    """`table[ids]`, and NaN for an id outside of the table."""
    table = params.table
    ids = ids if ids.dtype.itemsize > 4 else ids.astype(jnp.int32)  # that hold the number of rows
    inside = (ids >= 0) & (ids < table.shape[0])
    rows = jnp.take(table, jnp.where(inside, ids, 0), axis=0)
    return jnp.where(inside[..., None], rows, jnp.nan)
