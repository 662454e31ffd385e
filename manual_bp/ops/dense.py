r"""Affine map of the last axis.   Axes: B leading (any number of them), I features in, O features out.

    y_bo  = sum_i x_bi w_io + b_o                                   (1)

    db_o  = sum_b dy_bo                                             (2)
    dw_io = sum_b x_bi dy_bo                                        (3)
    dx_bi = sum_o dy_bo w_io                                        (4)

The params may be of a wider dtype than x, as float32 with bfloat16: products are taken in the dtype of x and
summed in at least float32, y and dx have the dtype of x, and dw and db that of the params, without having
been rounded to the narrower one.

Saved: x.  Rumelhart, Hinton & Williams 1986, doi:10.1038/323533a0.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Key

from manual_bp import checks, initializers
from manual_bp.precision import accumulator
from manual_bp.products import weight_gradient
from manual_bp.sharding import like


class Params(NamedTuple):
    """Weights `w` (I, O) and bias `b` (O,), or `None` for a map without one."""

    w: Float[Array, "I O"]
    b: Float[Array, "O"] | None


def init(
    key: Key[Array, ""],
    in_features: int,
    out_features: int,
    *,
    initializer: str = "glorot",
    bias: bool = True,
    dtype: DTypeLike = jnp.float32,
) -> Params:
    """Random weights by the named initialiser (of `initializers`) and, with `bias`, zero biases."""
    checks.counts("dense.init", in_features=in_features, out_features=out_features)
    w = initializers.draw("dense.init", initializer, key, (in_features, out_features), dtype)
    return Params(w, jnp.zeros(out_features, dtype) if bias else None)


def fwd(params: Params, x: Float[Array, "*B I"]) -> tuple[Float[Array, "*B O"], Float[Array, "*B I"]]:
    """The output `y` (*B, O), and `x` for the backward pass."""
    check("dense", params, x)
    w, b = params
    y = jnp.matmul(x, w.astype(x.dtype), preferred_element_type=accumulator(x.dtype))  # (1)
    if b is not None:
        y += jnp.broadcast_to(b.astype(y.dtype), y.shape)
    return y.astype(x.dtype), x


def bwd(
    params: Params, x: Float[Array, "*B I"], dy: Float[Array, "*B O"]
) -> tuple[Params, Float[Array, "*B I"]]:
    """The cotangents of the params and of `x`."""
    w, b = params
    checks.shape("dense", "dy", dy, (*x.shape[:-1], w.shape[1]), ", the shape of the output")
    checks.dtype("dense", "dy", dy, x.dtype)
    wide = accumulator(x.dtype)
    leading = tuple(range(x.ndim - 1))
    db = None if b is None else jnp.sum(dy, leading, dtype=wide).astype(b.dtype)  # (2)
    dw = weight_gradient(x, dy, w, wide)  # (3)
    dx = jnp.matmul(dy, w.T.astype(x.dtype), preferred_element_type=wide, out_sharding=like(x))  # (4)
    return Params(dw.astype(w.dtype), db), dx.astype(x.dtype)


def check(op: str, params: Params, x: Array) -> None:
    """Raise unless `params` are those of an affine map of the last axis of `x`."""
    check_params(op, "params", params)
    check_input(op, "params.w", params.w, x)


def check_params(op: str, name: str, params: Params) -> None:
    """Raise unless `params`, the argument of that name, are those of an affine map."""
    checks.params(op, params, Params, name)
    w, b = params
    checks.floating(op, **{f"{name}.w": w})
    if w.ndim != 2:
        raise ValueError(f"{op}: {name}.w has shape {w.shape}; expected two axes (features in, features out)")
    if b is not None:
        checks.floating(op, **{f"{name}.b": b})
        checks.shape(op, f"{name}.b", b, w.shape[1:], f", as {name}.w has shape {w.shape}")
        checks.dtype(op, f"{name}.b", b, w.dtype)


def check_input(op: str, name: str, w: Float[Array, "I O"], x: Array) -> None:
    """Raise unless weights `w` of that name map the last axis of `x`."""
    checks.floating(op, x=x)
    checks.features(op, x=x)
    if x.shape[-1] != w.shape[0]:
        raise ValueError(
            f"{op}: x has shape {x.shape}; expected {w.shape[0]} features in its last axis, "
            f"as {name} has shape {w.shape}"
        )
    checks.no_wider(op, "x", x, name, w)
