r"""Residual perceptron block over mesh axes.   Axes: B leading, C features, F hidden features.

    y = x + tanh(x w_up + b_up) w_down + b_down                     (1)

The hidden features are over the axis `model`: a column and a row.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float

from jax_ref import ops as plain_ops
from manual_bp.ops import activations, dense
from manual_bp.parallel import tensor

X = Float[Array, "*B C"]


class Params(NamedTuple):
    """Those of the two products."""

    up: dense.Params
    down: dense.Params


class Residuals(NamedTuple):
    """What each step saved."""

    up: Any
    activation: Any
    down: Any


def fwd(params: Params, x: X, *, model: str | None = None) -> tuple[X, Residuals]:
    """The output (1)."""
    z, res_up = tensor.column.fwd(params.up, x, axis=model)
    a, res_activation = activations.tanh.fwd(z)
    y, res_down = tensor.row.fwd(params.down, a, axis=model)
    return x + y, Residuals(res_up, res_activation, res_down)


def bwd(params: Params, res: Residuals, dy: X, *, model: str | None = None) -> tuple[Params, X]:
    """The cotangents of the params and of `x`."""
    d_down, da = tensor.row.bwd(params.down, res.down, dy, axis=model)
    dz = activations.tanh.bwd(res.activation, da)
    d_up, dx = tensor.column.bwd(params.up, res.up, dz, axis=model)
    return Params(d_up, d_down), dy + dx  # x feeds both


def init(key: Array, layers: int, width: int, hidden: int) -> Params:
    """Random params of a stack, in float64."""
    keys = jax.random.split(key, 4)

    def normal(key: Array, *shape: int) -> Array:
        return jax.random.normal(key, (layers, *shape), jnp.float64) / width**0.5

    return Params(
        dense.Params(normal(keys[0], width, hidden), normal(keys[1], hidden)),
        dense.Params(normal(keys[2], hidden, width), normal(keys[3], width)),
    )


def specs(axis: str, size: int) -> Any:
    """How the params of a stack lie on the mesh, with the hidden features over an axis of any size."""
    last: Any = P(None, None, axis)
    of_row: Any = P(None, axis)
    whole: Any = P()
    return Params(dense.Params(last, of_row), dense.Params(of_row, whole))


def plain(params: Params, x: X) -> X:
    """The stack as a JAX user writes it."""

    def layer(x: X, of_layer: Params) -> tuple[X, None]:
        up, down = of_layer
        return x + plain_ops.dense.apply(down, jnp.tanh(plain_ops.dense.apply(up, x))), None

    return jax.lax.scan(layer, x, params)[0]
