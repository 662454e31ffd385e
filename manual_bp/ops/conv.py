r"""Convolution over one, two or three spatial axes, by the rank of the kernel.   Axes: B leading (any number
of them), S spatial, P places of the kernel, K its entries, I features in, O features out, J = I/groups.

Along each spatial axis the kernel moves by the stride s, its entries are d apart (dilation), and `lo` entries
of padding come first; p, k and q have a component for each axis:

    y_bpo = sum_ki x_bqi w_kio + b_o,    q = s p + d k - lo         (1)

where x is 0 outside of 0 <= q < S. It is a correlation, as everywhere in machine learning: the kernel is not
flipped. With groups, features in and out are split in G, and a group's outputs see that group's inputs.

    db_o   = sum_bp dy_bpo                                          (2)
    dw_kio = sum_bp x_bqi dy_bpo                                    (3)
    dx_bqi = sum_pko dy_bpo w_kio   over p, k with s p + d k - lo = q   (4)

Each of (1), (3) and (4) is a convolution; `manual_bp.convolution` has them, with groups in another form on a
CPU than on other machines.

The params may be of a wider dtype than x, as those of `dense`.

Saved: x.  LeCun et al. 1989, doi:10.1162/neco.1989.1.4.541; Dumoulin & Visin 2016, arXiv:1603.07285.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Key

from manual_bp import checks, initializers, windows
from manual_bp.convolution import choice
from manual_bp.precision import accumulator
from manual_bp.windows import Axis, Padding, PerAxis


class Params(NamedTuple):
    """The kernel `w` (*K, J, O) and the bias `b` (O,), or `None` for a convolution without one."""

    w: Float[Array, "*K J O"]
    b: Float[Array, "O"] | None


def init(
    key: Key[Array, ""],
    window: tuple[int, ...],
    in_features: int,
    out_features: int,
    *,
    groups: int = 1,
    initializer: str = "he",
    bias: bool = True,
    dtype: DTypeLike = jnp.float32,
) -> Params:
    """A random kernel over `window` by the named initialiser (of `initializers`), and zero biases."""
    sized = isinstance(window, tuple) and len(window) in (1, 2, 3) and all(map(checks.is_count, window))
    checks.option("conv.init", "window", window, sized, "one, two or three positive integers")
    checks.counts("conv.init", in_features=in_features, out_features=out_features, groups=groups)
    for name, value in {"in_features": in_features, "out_features": out_features}.items():
        checks.option("conv.init", name, value, value % groups == 0, f"a multiple of groups={groups}")
    shape = (*window, in_features // groups, out_features)
    w = initializers.draw("conv.init", initializer, key, shape, dtype)
    return Params(w, jnp.zeros(out_features, dtype) if bias else None)


def fwd(
    params: Params,
    x: Float[Array, "*BS I"],
    *,
    strides: PerAxis = 1,
    padding: Padding = "SAME",
    dilation: PerAxis = 1,
    groups: int = 1,
) -> tuple[Float[Array, "*BP O"], Float[Array, "*BS I"]]:
    """The output `y` (*B, *P, O) of `x` (*B, *S, I), and `x` for the backward pass.

    `padding` is "SAME" (as many places as entries, over the stride), "VALID" (none), or (lo, hi) for each
    spatial axis. `strides` and `dilation` are one integer, or one for each spatial axis.
    """
    _check(params, x, groups)
    axes = _axes(params, x, strides, padding, dilation)
    w, b = params
    y = choice.output(w.astype(x.dtype), windows.one_batch(x, len(axes)), axes, groups)  # (1)
    if b is not None:
        y += jnp.broadcast_to(b.astype(y.dtype), y.shape)
    return y.astype(x.dtype).reshape(_output(params, x, axes)), x


def bwd(
    params: Params,
    x: Float[Array, "*BS I"],
    dy: Float[Array, "*BP O"],
    *,
    strides: PerAxis = 1,
    padding: Padding = "SAME",
    dilation: PerAxis = 1,
    groups: int = 1,
) -> tuple[Params, Float[Array, "*BS I"]]:
    """The cotangents of the params and of `x`."""
    axes = _axes(params, x, strides, padding, dilation)
    checks.cotangent("conv", "dy", dy, jax.ShapeDtypeStruct(_output(params, x, axes), x.dtype))
    w, b = params
    wide = accumulator(x.dtype)
    db = None if b is None else jnp.sum(dy, range(dy.ndim - 1), dtype=wide).astype(b.dtype)  # (2)
    x_, dy_ = windows.one_batch(x, len(axes)), windows.one_batch(dy, len(axes))
    dw = choice.kernel_gradient(w, x_, dy_, axes, groups)  # (3)
    dx = choice.input_gradient(w.astype(x.dtype), x_, dy_, axes, groups)  # (4)
    return Params(dw.astype(w.dtype), db), dx.astype(x.dtype).reshape(x.shape)


def _axes(
    params: Params, x: Array, strides: PerAxis, padding: Padding, dilation: PerAxis
) -> tuple[Axis, ...]:
    n = params.w.ndim - 2
    return windows.axes("conv", x.shape[-n - 1 : -1], params.w.shape[:n], strides, padding, dilation)


def _output(params: Params, x: Array, axes: tuple[Axis, ...]) -> tuple[int, ...]:
    return (*x.shape[: x.ndim - len(axes) - 1], *(a.places for a in axes), params.w.shape[-1])


def _check(params: Params, x: Array, groups: int) -> None:
    checks.params("conv", params, Params)
    w, b = params
    checks.floating("conv", x=x, **{"params.w": w})
    if w.ndim not in (3, 4, 5):
        raise ValueError(
            f"conv: params.w has shape {w.shape}; expected one, two or three spatial axes, features in / "
            "groups, features out"
        )
    if not all(w.shape):
        raise ValueError(f"conv: params.w has shape {w.shape}; expected no axis of length 0")
    if x.ndim < w.ndim - 1:
        raise ValueError(
            f"conv: x has shape {x.shape}; expected {w.ndim - 2} spatial axes and features, as params.w has "
            f"shape {w.shape}"
        )
    checks.counts("conv", groups=groups)
    if x.shape[-1] != groups * w.shape[-2]:
        raise ValueError(
            f"conv: x has shape {x.shape}; expected {groups * w.shape[-2]} features in its last axis, as "
            f"params.w has shape {w.shape} and groups is {groups}"
        )
    holds = w.shape[-1] % groups == 0
    checks.option("conv", "groups", groups, holds, f"a divisor of the {w.shape[-1]} features out")
    checks.no_wider("conv", "x", x, "params.w", w)
    if b is not None:
        checks.floating("conv", **{"params.b": b})
        checks.shape("conv", "params.b", b, w.shape[-1:], f", as params.w has shape {w.shape}")
        checks.dtype("conv", "params.b", b, w.dtype)
