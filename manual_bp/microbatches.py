r"""Gradients of a batch in parts, one after the other, with the memory of one.   Axes: B examples, M parts.

    loss  = (1/M) sum_m loss_m,    grads = (1/M) sum_m grads_m      (1)

Part m has the examples m, m + M, ..., so that shards of a batch work on each. Where the loss is a mean over
examples this is the batch's own; where it is one over what counts, as with an `ignore_label`, it is that of
the parts' means.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from manual_bp import checks
from manual_bp.precision import wide
from manual_bp.sharding import split_axis, varying_as


def accumulated(value_and_grad: Callable[..., Any], parts: int) -> Callable[..., Any]:
    """A model's `value_and_grad(params, batch, **static)` in so many parts, with the same signature.

    Every array of the batch has an axis of examples in front, which `parts` divides; a key is split. Sums are
    in at least float32.
    """
    checks.counts("accumulated", parts=parts)

    def of_parts(params: Any, batch: Any, **static: Any) -> Any:
        each = jax.tree.map(lambda leaf: _split(leaf, parts), batch)

        def of_one(part: Any) -> Any:
            return value_and_grad(params, part, **static)

        def step(sums: Any, part: Any) -> tuple[Any, None]:
            return jax.tree.map(lambda total, new: total + wide(new), sums, of_one(part)), None

        result = jax.eval_shape(of_one, jax.tree.map(lambda leaf: leaf[0], each))
        start = jax.tree.map(lambda leaf: varying_as(wide(jnp.zeros(leaf.shape, leaf.dtype)), leaf), result)
        sums, _ = jax.lax.scan(step, start, each)
        return jax.tree.map(lambda total, leaf: (total / parts).astype(leaf.dtype), sums, result)  # (1)

    return of_parts


def _split(leaf: Any, parts: int) -> Any:
    """A leaf of a batch with an axis of parts in front."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.split(leaf, parts)
    shape = jnp.shape(leaf)
    if not shape or shape[0] % parts:
        raise ValueError(f"accumulated: an array of the batch has shape {shape}; expected examples in front, "
                         f"in {parts} equal parts")  # fmt: skip
    return jnp.swapaxes(split_axis(jnp.asarray(leaf), 0, shape[0] // parts), 0, 1)
