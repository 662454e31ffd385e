"""A scan whose steps replace what they read.   Axes: T time.

What `lax.scan` stacks lies in memory of its own, filled with zeros before the first step. Where a step makes
as much as it reads, and what it read is not needed again, the one can be written over the other. XLA copies
all rows at each step unless it sees that whatever reads them comes before the writing, or after it. So a row
is read as soon as the one before it has been replaced, and carried to its step.

Differentiated in reverse mode, each step adds to the cotangents of all rows, and time grows as T^2; in
forward mode, as for `jax.jvp(jax.grad(f), ...)`, it grows as T.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from manual_bp.sharding import varying_as


def scan(
    step: Callable[[Any, Array, Any], tuple[Any, Array, Any]],
    carry: Any,
    rows: Float[Array, "T ..."],
    xs: Any = None,
    *,
    reverse: bool = False,
) -> tuple[Any, Float[Array, "T ..."], Any]:
    """`step(carry, row, x) -> (carry, new row, y)` for each of `rows` and `xs`: the last carry, the new rows
    and the stacked y. A new row has shape and dtype of the old one.
    """
    steps = len(rows)
    if not steps:  # there is no row to carry
        carry, (rows, ys) = lax.scan(lambda c, of_step: _paired(step(c, *of_step)), carry, (rows, xs))
        return carry, rows, ys
    rows = varying_as(rows, (carry, rows, xs))
    first, after = (steps - 1, -1) if reverse else (0, 1)

    def replaced(state: tuple[Any, Array, Array], inputs: tuple[Array, Any]) -> tuple[tuple, Any]:
        (carry, rows, row), (t, x) = state, inputs
        carry, row, y = step(carry, row, x)
        rows = lax.dynamic_update_index_in_dim(rows, row, t, 0)
        following = lax.dynamic_index_in_dim(rows, t + after, keepdims=False)  # of the last, any
        return (carry, rows, following), y

    numbers = jnp.arange(steps, dtype=jnp.int32)
    (carry, rows, _), ys = lax.scan(replaced, (carry, rows, rows[first]), (numbers, xs), reverse=reverse)
    return carry, rows, ys


def _paired(result: tuple[Any, Array, Any]) -> tuple[Any, tuple[Array, Any]]:
    carry, row, y = result
    return carry, (row, y)
