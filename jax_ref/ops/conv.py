"""Convolution of features-last arrays by the rank of the kernel."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jax_ref.ops.dense import Params

_LAYOUTS = {1: ("NHC", "HIO", "NHC"), 2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}


def apply(
    params: Params,
    x: Float[Array, "*BS I"],
    *,
    strides: int | Sequence[int] = 1,
    padding: str | Sequence[tuple[int, int]] = "SAME",
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Float[Array, "*BP O"]:
    """The correlation of `x` (*B, *S, I) with the kernel (*K, I/groups, O), plus the bias."""
    n = params.w.ndim - 2
    w = params.w.astype(x.dtype)

    def convolved(batch: Array) -> Array:
        return jax.lax.conv_general_dilated(
            batch,
            w,
            (strides,) * n if isinstance(strides, int) else strides,
            padding,
            rhs_dilation=(dilation,) * n if isinstance(dilation, int) else dilation,
            dimension_numbers=_LAYOUTS[n],
            feature_group_count=groups,
        )

    if x.ndim == n + 1:
        y = convolved(x[None])[0]
    else:
        for _ in range(x.ndim - n - 2):
            convolved = jax.vmap(convolved)
        y = convolved(x)
    b = params.b
    return y if b is None else y + jnp.expand_dims(b.astype(x.dtype), tuple(range(y.ndim - 1)))
