r"""Convolutional network of images.   Axes: B leading (any number of them), H W of the image, C its channels,
O outputs; k = 1..K numbers the blocks, j the layers of a block.

    z, s' = norm(conv(x; w), s)                                     (1)
    x     = f(z)    from layer to layer of the block                (2)
    x     = max(x)  over windows of 2 x 2, behind its last layer    (3)
    y     = mlp(x)  of the last block's places and channels in one row      (4)
    cost  = (1/B) sum_b -log softmax(y_b)_{t_b}                     (5)

    dy    = (dcost/B) (softmax(y_b) - [o = t_b])                    (6)
    dx    = the backward of (4) for dy                              (7)
    dx    = the backward of (3) for dx, from block K to the first   (8)
    dz    = f'(z) dx, from the block's last layer to its first      (9)
    dnorm, ds = the backward of the norm for dz and ds'            (10)
    dw, dx    = the backward of the convolution for what is left   (11)

The state s are the running statistics of each norm, which are given and no function of the params: in
`value_and_grad` ds' = 0, and ds is nobody's. Static options: f is `activation`, a name in `ops.activations`;
`norm` is one in `norms`, and `momentum` the weight of the old statistics. A network that was trained with
"batch_norm" is evaluated with "frozen_batch_norm", by the same params and state. Where the examples lie over
mesh axes, those are `axis`: the statistics are then those of all devices' examples, the cost that of one
device's, and the gradient its share.

LeCun et al. 1998, doi:10.1109/5.726791; Ioffe & Szegedy 2015, arXiv:1502.03167; Simonyan & Zisserman 2015,
arXiv:1409.1556.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float, Integer, Key

from manual_bp import checks, losses
from manual_bp.models import mlp
from manual_bp.norms import NORMS, Norm
from manual_bp.ops import activations, conv, pool
from manual_bp.ops.batch_norm import Statistics
from manual_bp.parallel.axes import Axis
from manual_bp.precision import accumulator
from manual_bp.sharding import reshaped
from manual_bp.taps import Tapper, plain

POOLED = (2, 2)
"""The window of the pooling behind each block."""

State = tuple[tuple[Statistics | None, ...], ...]
"""The running statistics of each block's layers, None for those of a norm that keeps none."""


class Layer(NamedTuple):
    """A convolution, without a bias where a norm follows, and that norm's params, or None."""

    conv: conv.Params
    norm: Any


class Params(NamedTuple):
    """The layers of each block, from input to output, and the dense layers behind them."""

    blocks: tuple[tuple[Layer, ...], ...]
    head: mlp.Params


class LayerResiduals(NamedTuple):
    """What the ops of a layer saved."""

    conv: Any
    norm: Any
    activation: Any


class Residuals(NamedTuple):
    """What the layers of each block saved, its pooling, and the head."""

    layers: tuple[tuple[LayerResiduals, ...], ...]
    pool: tuple[pool.Residuals, ...]
    head: Any


def init(
    key: Key[Array, ""],
    image: Sequence[int],
    blocks: Sequence[Sequence[int]],
    widths: Sequence[int],
    *,
    norm: str = "batch_norm",
    window: tuple[int, int] = (3, 3),
    initializer: str = "he",
    dtype: DTypeLike = jnp.float32,
) -> Params:
    """Random params for images of shape `image` (H, W, C).

    `blocks` are the channels of each block's convolutions, as in ((16, 16), (32, 32)), whose kernels have the
    size `window`; `widths` are those of the dense layers, the outputs last.
    """
    op = _norm("convnet.init", norm).op
    places = _places(image, blocks)
    checks.option("convnet.init", "window", window, _is_window(window), "its height and width")
    fits = checks.are_counts(widths) and len(widths) > 0
    checks.option("convnet.init", "widths", widths, fits, "those of the dense layers, the outputs last")
    first, *keys = jax.random.split(key, 1 + sum(map(len, blocks)))
    bias, options = op is None, {"initializer": initializer, "dtype": dtype}
    made, features, rest = [], image[-1], iter(keys)
    for block in blocks:
        layers = []
        for channels in block:
            w = conv.init(next(rest), window, features, channels, bias=bias, **options)
            layers.append(Layer(w, None if op is None else op.init(key, channels, dtype=dtype)))
            features = channels
        made.append(tuple(layers))
    return Params(tuple(made), mlp.init(first, [places * features, *widths], **options))


def init_state(params: Params, *, norm: str = "batch_norm") -> State:
    """The state before the first batch: means of 0 and variances of 1, in float32 at least."""
    keeps = _norm("convnet.init_state", norm).keeps_statistics

    def start(layer: Layer) -> Statistics | None:
        if not keeps:
            return None
        zero = jnp.zeros(layer.conv.w.shape[-1], accumulator(layer.conv.w.dtype))
        return Statistics(zero, jnp.ones_like(zero))

    return tuple(tuple(map(start, block)) for block in params.blocks)


def fwd(
    params: Params,
    state: State,
    x: Float[Array, "*B H W C"],
    *,
    activation: str = "relu",
    norm: str = "batch_norm",
    momentum: float = 0.9,
    axis: Axis = None,
) -> tuple[tuple[Float[Array, "*B O"], State], Residuals]:
    """The outputs with the state after this batch, and the residuals of all layers."""
    f, normalize = _activation(activation), _norm("convnet", norm)
    checks.number("convnet", "momentum", momentum, lambda m: 0 <= m <= 1, "a number in 0..1")
    _check(params, state, x)
    _check_statistics(state, norm)
    after, saved, res_pool = [], [], []
    for block, before in zip(params.blocks, state, strict=True):
        statistics, res_block = [], []
        for layer, s in zip(block, before, strict=True):
            z, res_conv = conv.fwd(layer.conv, x)
            (z, s), res_norm = normalize.fwd(layer.norm, z, s, momentum=momentum, axis=axis)  # (1)
            x, res_activation = f.fwd(z)  # (2)
            statistics.append(s)
            res_block.append(LayerResiduals(res_conv, res_norm, res_activation))
        x, res = pool.max.fwd(x, window=POOLED)  # (3)
        after.append(tuple(statistics))
        saved.append(tuple(res_block))
        res_pool.append(res)
    row = reshaped(x, (*x.shape[:-3], math.prod(x.shape[-3:])))
    y, res_head = mlp.fwd(params.head, row, activation=activation)  # (4)
    return (y, tuple(after)), Residuals(tuple(saved), tuple(res_pool), res_head)


def bwd(
    params: Params,
    res: Residuals,
    d_output: tuple[Float[Array, "*B O"], State],
    *,
    activation: str = "relu",
    norm: str = "batch_norm",
    momentum: float = 0.9,
    axis: Axis = None,
    tap: Tapper = plain,
) -> tuple[Any, ...]:
    """The cotangents of the params, of the state if there is one, and of `x`.

    What another `tap` returns is in place of those of the params of each op.
    """
    f, normalize = _activation(activation), _norm("convnet", norm)
    static: dict[str, Any] = {"momentum": momentum, "axis": axis, "tap": tap}
    dy, d_after = checks.together("convnet", "d_output", d_output, "dy", "d_state")
    dhead, drow = mlp.bwd(params.head, res.head, dy, activation=activation, tap=tap)  # (7)
    dx = reshaped(drow, res.pool[-1].first.shape)
    dblocks, d_state = [], []
    for k in reversed(range(len(params.blocks))):
        dx = pool.max.bwd(res.pool[k], dx, window=POOLED)  # (8)
        dblock, d_before = [], []
        for j in reversed(range(len(params.blocks[k]))):
            layer, saved = params.blocks[k][j], res.layers[k][j]
            dz = f.bwd(saved.activation, dx)  # (9)
            d_norm = (dz, d_after[k][j])
            dnorm, dz, ds = normalize.bwd(layer.norm, saved.norm, d_norm, **static)  # (10)
            dconv, dx = tap(conv, layer.conv, saved.conv, dz)  # (11)
            dblock.append(Layer(dconv, dnorm))
            d_before.append(ds)
        dblocks.append(tuple(reversed(dblock)))
        d_state.append(tuple(reversed(d_before)))
    dparams = Params(tuple(reversed(dblocks)), dhead)
    return (dparams, tuple(reversed(d_state)), dx) if normalize.keeps_statistics else (dparams, dx)


def value_and_grad(
    params: Params,
    state: State,
    batch: tuple[Float[Array, "*B H W C"], Integer[Array, "*B"]],
    *,
    activation: str = "relu",
    norm: str = "batch_norm",
    momentum: float = 0.9,
    axis: Axis = None,
    dcost: Float[Array, ""] | float = 1.0,
) -> tuple[tuple[Float[Array, ""], State], Params]:
    """The mean cross-entropy over a batch `(x, labels)` with the state after it, and the gradient.

    `dcost` is the cotangent of the mean, 1 for the gradient: see `losses.mean`.
    """
    x, labels = checks.together("convnet", "batch", batch, "x", "labels")
    checks.option("convnet", "batch", jnp.shape(x), math.prod(jnp.shape(x)[:-3]) > 0, "at least one image")
    static: dict[str, Any] = {"activation": activation, "norm": norm, "momentum": momentum, "axis": axis}
    (y, after), res = fwd(params, state, x, **static)
    cost, dy = losses.mean("softmax_cross_entropy", y, labels, dcost)  # (5), (6)
    nothing = jax.tree.map(jnp.zeros_like, after)  # no later batch's gradient comes back
    dparams, *_ = bwd(params, res, (dy, nothing), **static)
    return (cost, after), dparams


def _activation(name: str) -> activations.Activation:
    checks.choice("convnet", "activation", name, activations.MEMBERS)
    return activations.MEMBERS[name]


def _norm(asker: str, name: str) -> Norm:
    checks.choice(asker, "norm", name, NORMS)
    return NORMS[name]


def _is_window(window: Any) -> bool:
    return isinstance(window, tuple) and checks.are_counts(window) and len(window) == len(POOLED)


def _places(image: Sequence[int], blocks: Sequence[Sequence[int]]) -> int:
    """The places of an image behind all blocks; raise for an image or blocks of another form."""
    fits = checks.are_counts(image) and len(image) == 3
    checks.option("convnet.init", "image", image, fits, "its height, width and channels")
    nested = isinstance(blocks, Sequence) and len(blocks) > 0
    fits = nested and all(checks.are_counts(block) and len(block) > 0 for block in blocks)
    checks.option("convnet.init", "blocks", blocks, fits, "the channels of each block's convolutions")
    least = 2 ** len(blocks)
    height, width, _ = image
    expected = f"a height and width of at least {least}, as each of {len(blocks)} blocks halves them"
    checks.option("convnet.init", "image", image, min(height, width) >= least, expected)
    return (height // least) * (width // least)


def _check(params: Params, state: State, x: Array) -> None:
    """Raise for what no op of the network would tell, or not in its terms."""
    checks.params("convnet", params, Params)
    checks.option("convnet", "params.blocks", params.blocks, len(params.blocks) > 0, "a block or more")
    layers = [len(block) for block in params.blocks]
    nested = isinstance(state, tuple) and all(isinstance(block, tuple) for block in state)
    if not nested or [len(block) for block in state] != layers:
        raise ValueError(
            f"convnet: state has the structure {jax.tree.structure(state)}; expected a tuple for each block "
            f"of statistics, or None, for each of its layers, of which there are {layers}"
        )
    checks.floating("convnet", x=x)
    if x.ndim < 3:
        raise ValueError(f"convnet: x has shape {x.shape}; expected height, width and channels behind *B")
    checks.params("mlp", params.head, mlp.Params, "params.head")
    head, channels = params.head.layers[0].w.shape[0], params.blocks[-1][-1].conv.w.shape[-1]
    height, width = (size // 2 ** len(layers) for size in x.shape[-3:-1])
    if height * width * channels != head:
        raise ValueError(
            f"convnet: x has shape {x.shape}, of which the blocks leave {height} x {width} places of "
            f"{channels} channels; expected {head} features in all, those of params.head"
        )


def _check_statistics(state: State, norm: str) -> None:
    """Raise unless there are statistics where the norm keeps them, and None where it keeps none."""
    wanted = Statistics if NORMS[norm].keeps_statistics else type(None)
    for k, block in enumerate(state):
        for j, found in enumerate(block):
            if not isinstance(found, wanted):
                raise TypeError(
                    f"convnet: state[{k}][{j}] is a {type(found).__name__}; expected {wanted.__name__}, as "
                    f"norm is {norm!r}"
                )
