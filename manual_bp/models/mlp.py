r"""Multi-layer perceptron.   Axes: B leading, I features in, O features out; k = 1..L numbers the layers.

    z^k  = a^(k-1) w^k + b^k,   a^0 = x                             (1)
    a^k  = f(z^k)   for k < L,  y = g(z^L)                          (2)
    cost = (1/B) sum_b loss(y_b, t_b)                               (3)

    dy   = (dcost/B) dloss/dy                                       (4)
    dz^L = g'(z^L) dy,   dz^k = f'(z^k) da^k                        (5)
    dw^k, db^k, da^(k-1) = the backward of (1) for dz^k             (6)

f is the static option `activation`, g `output_activation`, each a name in `ops.activations`; `loss` is
the name of a loss in `losses`. The loss of a classifier takes logits, so that g is the identity there.

Rumelhart, Hinton & Williams 1986, doi:10.1038/323533a0.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Key

from manual_bp import checks, losses
from manual_bp.ops import activations, dense
from manual_bp.taps import Tapper, plain


class Params(NamedTuple):
    """One `dense.Params` per layer, from input to output."""

    layers: tuple[dense.Params, ...]


class Residuals(NamedTuple):
    """What each layer's affine map and each layer's activation saved, from input to output."""

    dense: tuple[Any, ...]
    activation: tuple[Any, ...]


def init(
    key: Key[Array, ""],
    widths: Sequence[int],
    *,
    initializer: str = "glorot",
    bias: bool = True,
    dtype: DTypeLike = jnp.float32,
) -> Params:
    """Random params for layers of the given `widths`, input and output included.

    `initializer` is "glorot", "he" or "near_zero" (normal, standard deviation 0.01); biases are zero.
    """
    checks.option("mlp.init", "widths", widths, len(widths) >= 2, "at least two widths")
    keys = jax.random.split(key, len(widths) - 1)
    return Params(
        tuple(
            dense.init(k, i, o, initializer=initializer, bias=bias, dtype=dtype)
            for k, (i, o) in zip(keys, pairwise(widths), strict=True)
        )
    )


def fwd(
    params: Params,
    x: Float[Array, "*B I"],
    *,
    activation: str = "relu",
    output_activation: str = "identity",
) -> tuple[Float[Array, "*B O"], Residuals]:
    """The output of the last layer, and the residuals of all."""
    checks.params("mlp", params, Params)
    f = _activation("activation", activation)
    g = _activation("output_activation", output_activation)
    checks.option("mlp", "params.layers", params.layers, len(params.layers) > 0, "a layer or more")
    *hidden, last = params.layers
    res_dense, res_activation = [], []
    a = x
    for layer in hidden:
        z, saved = dense.fwd(layer, a)  # (1)
        res_dense.append(saved)
        a, saved = f.fwd(z)  # (2)
        res_activation.append(saved)
    z, saved = dense.fwd(last, a)
    res_dense.append(saved)
    y, saved = g.fwd(z)
    res_activation.append(saved)
    return y, Residuals(tuple(res_dense), tuple(res_activation))


def bwd(
    params: Params,
    res: Residuals,
    dy: Float[Array, "*B O"],
    *,
    activation: str = "relu",
    output_activation: str = "identity",
    tap: Tapper = plain,
) -> tuple[Params, Float[Array, "*B I"]]:
    """The cotangents of the params and of `x`; what another `tap` returns is in place of the layers'."""
    f = _activation("activation", activation)
    g = _activation("output_activation", output_activation)
    dlayers = []
    dz = g.bwd(res.activation[-1], dy)  # (5)
    dlayer, da = tap(dense, params.layers[-1], res.dense[-1], dz)  # (6)
    dlayers.append(dlayer)
    for k in reversed(range(len(params.layers) - 1)):
        dz = f.bwd(res.activation[k], da)  # (5)
        dlayer, da = tap(dense, params.layers[k], res.dense[k], dz)  # (6)
        dlayers.append(dlayer)
    return Params(tuple(reversed(dlayers))), da


def value_and_grad(
    params: Params,
    batch: tuple[Float[Array, "*B I"], Array],
    *,
    activation: str = "relu",
    output_activation: str = "identity",
    loss: str = "softmax_cross_entropy",
    dcost: Float[Array, ""] | float = 1.0,
) -> tuple[Float[Array, ""], Params]:
    """The mean loss over a batch `(x, targets)` and its gradient by the params, times `dcost`.

    `dcost` is the cotangent of the mean loss, with which the backward begins: 1 for the gradient. In float16
    a large one keeps small cotangents from vanishing.
    """
    x, targets = checks.together("mlp", "batch", batch, "x", "targets")
    checks.choice("mlp", "loss", loss, losses.LOSSES)
    checks.option("mlp", "batch", jnp.shape(x), math.prod(jnp.shape(x)[:-1]) > 0, "at least one example")
    static: dict[str, Any] = {"activation": activation, "output_activation": output_activation}
    y, res = fwd(params, x, **static)
    cost, dy = losses.mean(loss, y, targets, dcost)  # (3), (4)
    dparams, _ = bwd(params, res, dy, **static)
    return cost, dparams


def _activation(option: str, name: str) -> activations.Activation:
    checks.choice("mlp", option, name, activations.MEMBERS)
    return activations.MEMBERS[name]
