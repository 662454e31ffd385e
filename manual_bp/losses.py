r"""Losses by name, and their mean over a batch.   Axes: B leading, any number of them.

    cost  = (1/B) sum_b loss(y_b, t_b)                              (1)
    dy_b  = (dcost/B) dloss/dy_b                                    (2)

The 1/B is a part of the mean and stands here alone: the losses have one value per example and know none.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from manual_bp import checks
from manual_bp.ops import huber, sigmoid_cross_entropy, softmax_cross_entropy, squared_error
from manual_bp.precision import accumulator

LOSSES: dict[str, Any] = {
    "huber": huber,
    "sigmoid_cross_entropy": sigmoid_cross_entropy,
    "softmax_cross_entropy": softmax_cross_entropy,
    "squared_error": squared_error,
}
"""Ops with one value per example, of an output and targets."""


def mean(
    name: str, y: Float[Array, "..."], targets: Array, dcost: Float[Array, ""] | float = 1.0
) -> tuple[Float[Array, ""], Float[Array, "..."]]:
    """The mean of the loss `name` over all examples, in the dtype of `y`, and the cotangent of `y`.

    `dcost` is the cotangent of the mean: 1 for a gradient. A larger one is loss scaling, by which the small
    cotangents of float16 do not vanish; all cotangents behind it are as many times as large.
    Raises `ValueError` for an unknown name or a batch without examples; what the loss itself refuses is told
    by it.
    """
    checks.choice("losses.mean", "name", name, LOSSES)
    losses, res = LOSSES[name].fwd(y, targets)
    checks.option("losses.mean", "the shape of y", y.shape, losses.size > 0, "at least one example")
    cost = jnp.mean(losses, dtype=accumulator(losses.dtype)).astype(losses.dtype)  # (1)
    dy = LOSSES[name].bwd(res, jnp.full_like(losses, dcost / losses.size))  # (2)
    if isinstance(dy, tuple):  # floating point targets have a cotangent too, which nobody needs
        dy = dy[0]
    return cost, dy
