r"""Embedding: the row of a table for each id.   Axes: B any, V rows (the vocabulary), D features.

    y_bd  = t_{id_b, d}                                             (1)

    dt_vd = sum_b dy_bd [id_b = v]                                  (2)

Ids that occur more than once add up. An id outside of 0..V-1 has no row: y is NaN there, so that it is seen,
and its cotangent goes nowhere.

Saved: the ids.  Bengio et al. 2003, jmlr.org/papers/v3/bengio03a.html.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Integer, Key

from manual_bp import checks
from manual_bp.precision import accumulator
from manual_bp.sharding import like, rows_like


class Params(NamedTuple):
    """The `table` (V, D)."""

    table: Float[Array, "V D"]


def init(key: Key[Array, ""], rows: int, features: int, *, dtype: DTypeLike = jnp.float32) -> Params:
    """Normal rows with standard deviation 0.02, as GPT-2 has them."""
    checks.counts("embedding.init", rows=rows, features=features)
    return Params(0.02 * jax.random.normal(key, (rows, features), dtype))


def fwd(params: Params, ids: Integer[Array, "*B"]) -> tuple[Float[Array, "*B D"], Integer[Array, "*B"]]:
    """The rows `y` (*B, D) of `ids`, and the ids."""
    checks.params("embedding", params, Params)
    checks.floating("embedding", **{"params.table": params.table})
    if params.table.ndim != 2:
        raise ValueError(f"embedding: params.table has shape {params.table.shape}; expected two axes (V, D)")
    checks.integers("embedding", ids=ids)
    table = jnp.asarray(params.table)
    if not len(table):
        return jnp.full((*ids.shape, table.shape[1]), jnp.nan, table.dtype), ids
    y = table.at[_within_int32(ids, len(table))].get(
        mode="fill", fill_value=jnp.nan, wrap_negative_indices=False, out_sharding=rows_like(ids)
    )  # (1)
    return y, ids


def bwd(params: Params, ids: Integer[Array, "*B"], dy: Float[Array, "*B D"]) -> Params:
    """The cotangent of the params."""
    table = params.table
    checks.cotangent("embedding", "dy", dy, jax.ShapeDtypeStruct((*ids.shape, table.shape[1]), table.dtype))
    wide = accumulator(table.dtype)
    zeros = jnp.zeros(table.shape, wide)
    dt = zeros.at[_within_int32(ids, len(table))].add(
        dy.astype(wide), mode="drop", wrap_negative_indices=False, out_sharding=like(table)
    )  # (2)
    return Params(dt.astype(table.dtype))


def _within_int32(ids: Integer[Array, "*B"], rows: int) -> Integer[Array, "*B"]:
    """Ids that are no row still none of them: JAX looks ids up without the bits beyond 32."""
    if ids.dtype.itemsize <= 4:
        return ids
    return jnp.where((ids >= 0) & (ids < rows), ids, rows).astype(jnp.int32)
