r"""A convolution by XLA's own, all three as correlations.

The gradient of the kernel is one of x with dy, moved by d (each entry of the kernel is a place), with entries
s apart, that sums over the batch as a forward pass sums over features. That of x is one of dy, s - 1 zeros
between its entries, with the kernel flipped and its features exchanged: for the flipped entry k' = K-1-k and
lo' = d (K-1) - lo, the place q sees entry q + d k' - lo' of the spread dy, and that is s p.
"""

from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from manual_bp.precision import accumulator
from manual_bp.sharding import copies, like, whole
from manual_bp.windows import Axis


def output(w: Array, x: Array, *, axes: tuple[Axis, ...], groups: int) -> Array:
    """y (B, *P, O)."""
    return lax.conv_general_dilated(
        x,
        w,
        window_strides=[a.stride for a in axes],
        padding=[(a.lo, a.hi) for a in axes],
        rhs_dilation=[a.dilation for a in axes],
        dimension_numbers=_features_last(len(axes)),
        feature_group_count=groups,
        preferred_element_type=accumulator(x.dtype),
    )


def kernel_gradient(w: Array, x: Array, dy: Array, *, axes: tuple[Axis, ...], groups: int) -> Array:
    """dw (*K, J, O): the correlation of `x` with `dy`; batch and features have exchanged their parts.

    They do so by transposing, not by `dimension_numbers`: within a loop, as `lax.scan` makes one, XLA has no
    fast convolution on the CPU but for the usual order of axes.
    """
    n = len(axes)
    if groups > 1 and max(copies(x), copies(dy)) > 1:
        # XLA, of jax 0.10 to 0.12, sums over the copies of a part of the batch, too, and dw would be as many
        # times too large as there are. On automatic meshes, which cannot be seen here, it is.
        x, dy = whole(x), whole(dy)
    dw = lax.conv_general_dilated(
        jnp.swapaxes(x, 0, -1),
        jnp.moveaxis(dy, 0, n),
        window_strides=[a.dilation for a in axes],
        padding=[a.ends for a in axes],
        rhs_dilation=[a.stride for a in axes],
        dimension_numbers=_features_last(n),
        batch_group_count=groups,
        preferred_element_type=accumulator(x.dtype),
        out_sharding=like(jnp.moveaxis(w, n, 0)),
    )
    return jnp.moveaxis(dw, 0, n)


def input_gradient(w: Array, x: Array, dy: Array, *, axes: tuple[Axis, ...], groups: int) -> Array:
    """dx (B, *S, I): the correlation of the spread `dy` with the flipped kernel."""
    n = len(axes)
    *window, i, o = w.shape
    split = jnp.flip(w, range(n)).reshape(*window, i, groups, o // groups)
    exchanged = jnp.moveaxis(split, -1, n).swapaxes(n + 1, n + 2).reshape(*window, o // groups, groups * i)
    return lax.conv_general_dilated(
        dy,
        exchanged,
        window_strides=[1] * n,
        padding=spread_padding(axes),
        lhs_dilation=[a.stride for a in axes],
        rhs_dilation=[a.dilation for a in axes],
        dimension_numbers=_features_last(n),
        feature_group_count=groups,
        preferred_element_type=accumulator(x.dtype),
        out_sharding=like(x),
    )


def spread_padding(axes: tuple[Axis, ...]) -> list[tuple[int, int]]:
    """lo' and hi' of the spread dy: where they are negative, entries are cut off."""
    return [(a.reach - a.lo, a.size - a.span - 1 + a.lo) for a in axes]


def _features_last(n: int) -> Any:
    """The order of axes: batch, spatial, features; kernels have features in and out last."""
    return lax.ConvDimensionNumbers(
        lhs_spec=(0, n + 1, *range(1, n + 1)),
        rhs_spec=(n + 1, n, *range(n)),
        out_spec=(0, n + 1, *range(1, n + 1)),
    )
