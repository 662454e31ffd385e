r"""Gated multi-layer perceptron (SwiGLU and its like).   Axes: B leading, I features, F hidden, O out.

    g = x W_g + b_g,    u = x W_u + b_u                             (1)
    h = f(g) u                                                      (2)
    y = h W_d + b_d                                                 (3)

    dW_d, db_d, dh of (3)                                           (4)
    du = f(g) dh,    dg = f'(g) (u dh)                              (5)
    dW_u, db_u and dW_g, db_g of (1), and x feeds both: dx = dx_u + dx_g    (6)

Saved: x, g and u; f(g) and h are made again.  Shazeer 2020,
arXiv:2002.05202.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Key

from manual_bp import checks
from manual_bp.ops import activations, dense


class Params(NamedTuple):
    """The `dense.Params` of gate and up, both (I, F), and of down (F, O)."""

    gate: dense.Params
    up: dense.Params
    down: dense.Params


class Residuals(NamedTuple):
    """The input, g, and u."""

    x: Float[Array, "*B I"]
    g: Float[Array, "*B F"]
    u: Float[Array, "*B F"]


def init(
    key: Key[Array, ""],
    in_features: int,
    features: int,
    *,
    initializer: str = "glorot",
    bias: bool = False,
    dtype: DTypeLike = jnp.float32,
) -> Params:
    """Random weights by the named initialiser, in and out `in_features` wide, `features` between."""
    checks.counts("gated_mlp.init", in_features=in_features, features=features)
    gate, up, down = jax.random.split(key, 3)
    options = {"initializer": initializer, "bias": bias, "dtype": dtype}
    return Params(
        dense.init(gate, in_features, features, **options),
        dense.init(up, in_features, features, **options),
        dense.init(down, features, in_features, **options),
    )


def fwd(
    params: Params, x: Float[Array, "*B I"], *, activation: str = "silu"
) -> tuple[Float[Array, "*B O"], Residuals]:
    """The output `y` (*B, O), of activations by their names in `activations`."""
    _check(params, x, activation)
    g, _ = dense.fwd(params.gate, x)  # (1)
    u, _ = dense.fwd(params.up, x)
    a, _ = activations.MEMBERS[activation].fwd(g)
    y, _ = dense.fwd(params.down, a * u)  # (2), (3)
    return y, Residuals(x, g, u)


def bwd(
    params: Params, res: Residuals, dy: Float[Array, "*B O"], *, activation: str = "silu"
) -> tuple[Params, Float[Array, "*B I"]]:
    """The cotangents of the params and of `x`."""
    x, g, u = res
    wanted = (*x.shape[:-1], params.down.w.shape[1])
    checks.shape("gated_mlp", "dy", dy, wanted, ", the shape of the output")
    checks.dtype("gated_mlp", "dy", dy, x.dtype)
    f = activations.MEMBERS[activation]
    a, saved = f.fwd(g)
    d_down, dh = dense.bwd(params.down, a * u, dy)  # (4)
    dg = f.bwd(saved, u * dh)  # (5)
    d_up, dx_u = dense.bwd(params.up, x, a * dh)  # (6)
    d_gate, dx_g = dense.bwd(params.gate, x, dg)
    return Params(d_gate, d_up, d_down), dx_u + dx_g  # x feeds the gate and the product


def _check(params: Any, x: Array, activation: str) -> None:
    op = "gated_mlp"
    checks.params(op, params, Params)
    for name, layer in zip(Params._fields, params, strict=True):
        dense.check_params(op, f"params.{name}", layer)
    gate, down = params.gate.w, params.down.w
    dense.check_input(op, "params.gate.w", gate, x)
    checks.same_as(op, "params.up.w", params.up.w, "params.gate.w", gate)
    why = f", as params.gate.w has shape {gate.shape}"
    checks.shape(op, "params.down.w", down, (gate.shape[1], down.shape[1]), why)
    checks.no_wider(op, "x", x, "params.down.w", down)
    checks.choice(op, "activation", activation, activations.MEMBERS)
