r"""A weight's gradient, by the side that costs less to turn.   Axes: N examples, I features in, O out.

    dw_io = sum_n x_ni dy_no,    or (sum_n dy_no x_ni)^T            (1)

XLA on the CPU takes products whose left operand has the axis of the sum last. So it writes x^T for the first
form, N I entries, and dy^T and the result once more for the second, N O + I O. Behind an activation it even
computes x once more, column by column, to have it turned. The second form is for a projection down from many
features.
"""

from math import prod

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, DTypeLike, Float

from manual_bp.sharding import like


def weight_gradient(
    x: Float[Array, "*B I"], dy: Float[Array, "*B O"], w: Float[Array, "I O"], dtype: DTypeLike
) -> Float[Array, "I O"]:
    """(1), summed in `dtype`, laid out as `w`."""
    leading = tuple(range(x.ndim - 1))
    n, (i, o) = prod(x.shape[:-1]), w.shape
    if n * i <= n * o + i * o or x.dtype != dtype:  # XLA has not all products of bfloat16 into float32
        return jnp.tensordot(x, dy, (leading, leading), preferred_element_type=dtype, out_sharding=like(w))
    turned = jnp.tensordot(dy, x, (leading, leading), preferred_element_type=dtype, out_sharding=like(w.T))
    return lax.optimization_barrier(turned).T  # else XLA makes the first form of it
