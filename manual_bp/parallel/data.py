r"""Data parallelism: each device has some of the examples, and all the params.

    cost = sum_s (W^s / W) cost^s,    W = sum_s W^s                 (1)
    dw   = sum_s dw^s,    dw^s that of cost^s with dcost^s = W^s / W        (2)

cost^s is the mean over the examples of device s, and W^s their number or the sum of their weights. The mean's
1/B is one over all shards' examples together: W^s / W is 1/n where all devices have as many.

On the wire a gradient of all leaves is one message m^s, of n parts. "native" leaves it to XLA. The narrower
ones are rounded before they are sent and added in at least float32:

    q^s  = round(m^s + e^s),    g_s = sum_r (q^r)_s on device s     (3)
    g    = [round(g_1 + 0) .. round(g_n)]                           (4)
    e^s := m^s + e^s - q^s,    and its own part s gets g_s - round(g_s) added       (5)

"bfloat16" sends the bits of bfloat16 as integers (on a CPU a bfloat16 collective is widened to float32);
"int8" sends integers to 127 and one float32 scale a part. (3) is an all-to-all and (4) an all-gather, each
of 1/2 or 1/4 of the bytes of float32. With the error e fed back (5), which each device keeps between the
steps, what one step rounds away the next ones bring: the mean of N steps is off by 1/N of a step's error. A
part with an infinity or a NaN in it is NaN.

Seide et al. 2014 (1-bit SGD, error feedback); Karimireddy et al. 2019, arXiv:1901.09847.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Integer

from manual_bp import checks
from manual_bp.parallel import axes
from manual_bp.parallel.axes import Axis
from manual_bp.precision import accumulator

Parts = Float[Array, "n c"]
"""A message in as many parts as there are devices."""


def value_and_grad(
    model: Any,
    params: Any,
    batch: Any,
    *,
    axis: Axis,
    weight: Float[Array, ""] | None = None,
    wire: str = "native",
    feedback: Array | None = None,
    **static: Any,
) -> tuple[Float[Array, ""], Any]:
    """The mean loss over all devices' examples, and what `all_reduce` makes of its gradient.

    `model` has `value_and_grad(params, batch, *, dcost, **static)`, a mean over the examples of `batch`,
    which are this device's. `weight` is W^s, where that is not the same on all: how many of them count, or
    the sum of their weights.
    """
    op = "data.value_and_grad"
    axes.check(op, axis)
    if weight is None:
        share: Any = 1 / axes.size(axis)
    else:
        checks.floating(op, weight=weight)
        checks.shape(op, "weight", weight, (), ", the sum of this device's weights")
        axes.shares(op, {"weight": weight}, axis)
        total = lax.psum(weight, axes.names(axis))
        share = weight / jnp.where(total == 0, 1, total)  # without any example the mean is that of none
    cost, grads = model.value_and_grad(params, batch, dcost=share, **static)  # (2)
    if weight is not None:
        cost = jnp.where(weight == 0, 0, cost)
    cost = lax.psum(axes.vary(cost * jnp.asarray(share, cost.dtype), axis), axes.names(axis))  # (1)
    return cost, all_reduce(grads, axis=axis, wire=wire, feedback=feedback)


def all_reduce(tree: Any, *, axis: Axis, wire: str = "native", feedback: Array | None = None) -> Any:
    """The sum of a tree over the devices, on each of them; with `feedback` also the next feedback.

    `wire` is a name in `WIRES`, or "native". `feedback` is this device's row of that of `no_feedback` or of
    the step before. Raises `ValueError` for a leaf that is summed already.
    """
    op = "data.all_reduce"
    axes.check(op, axis)
    checks.choice(op, "wire", wire, ["native", *WIRES])
    axes.shares(op, {"grads": tree}, axis)
    if wire == "native":
        checks.option(op, "feedback", feedback, feedback is None, 'None, as wire="native" rounds nothing')
        return lax.psum(tree, axes.names(axis)) if axes.names(axis) else tree
    if not isinstance(axis, str):
        raise ValueError(f"{op}: axis was {axis!r}; expected one name for wire={wire!r}")
    n = axes.size(axis)
    message = _packed(tree, n)
    if feedback is not None:
        checks.same_as(op, "feedback", feedback, "this device's row of no_feedback", message.reshape(1, -1))
        message = message + feedback.reshape(message.shape)
    reduced, lost = _reduced(message, axis, WIRES[wire])
    found = _unpacked(reduced, tree)
    return found if feedback is None else (found, lost.reshape(feedback.shape))


def no_feedback(tree: Any, devices: int) -> Float[Array, "n m"]:
    """The feedback of the first step, zeros: a row for each device, to be split by `P(axis)`."""
    shape = jax.eval_shape(lambda tree: _packed(tree, devices), tree)
    return jnp.zeros((devices, shape.size), shape.dtype)


class Wire(NamedTuple):
    """From parts to what is sent of each, (n, ...), and back to parts of a dtype."""

    send: Callable[[Parts], Integer[Array, "n *c"]]
    receive: Callable[[Any, Any], Parts]


def _bfloat16_bits(x: Parts) -> Integer[Array, "n c"]:
    return lax.bitcast_convert_type(x.astype(jnp.bfloat16), jnp.uint16)


def _of_bfloat16_bits(sent: Array, dtype: Any) -> Parts:
    return lax.bitcast_convert_type(sent, jnp.bfloat16).astype(dtype)


SCALE_BYTES = 4


def _int8_and_scale(x: Parts) -> Integer[Array, "n d"]:
    """Integers from -127 to 127, and behind them the four bytes of the scale."""
    scale = (jnp.max(jnp.abs(x), -1, keepdims=True, initial=0) / 127).astype(jnp.float32)
    scale = jnp.where(scale == 0, 1, scale)
    q = jnp.round(x / scale.astype(x.dtype))
    q = jnp.where(jnp.isfinite(q), q, 0).astype(jnp.int8)  # its scale is no number either
    return jnp.concatenate([q, lax.bitcast_convert_type(scale[:, 0], jnp.int8)], -1)


def _of_int8_and_scale(sent: Array, dtype: Any) -> Parts:
    scale = lax.bitcast_convert_type(sent[:, -SCALE_BYTES:], jnp.float32)[:, None]
    return sent[:, :-SCALE_BYTES].astype(dtype) * scale.astype(dtype)


WIRES = {
    "bfloat16": Wire(_bfloat16_bits, _of_bfloat16_bits),
    "int8": Wire(_int8_and_scale, _of_int8_and_scale),
}
"""The narrow formats by name."""


def _reduced(message: Parts, axis: str, wire: Wire) -> tuple[Parts, Parts]:
    """The sum of the messages, which is the same on all devices, and what this device rounded away."""
    sent = wire.send(message)
    lost = message - wire.receive(sent, message.dtype)  # (5)
    arrived = lax.all_to_all(sent, axis, 0, 0, tiled=True)  # (3)
    part = jnp.sum(wire.receive(arrived, message.dtype), 0, keepdims=True)
    sent = wire.send(part)
    lost = lost.at[axes.index(axis)].add((part - wire.receive(sent, message.dtype))[0])  # (5)
    everybody = lax.all_gather(sent, axis, axis=0, tiled=True, to="invarying")  # (4)
    return wire.receive(everybody, message.dtype), lost


def _packed(tree: Any, n: int) -> Parts:
    """All leaves as one message, with zeros at its end, as it has n parts."""
    leaves = jax.tree.leaves(tree)
    checks.floating("data.all_reduce", **{f"grads, leaf {i}": leaf for i, leaf in enumerate(leaves)})
    dtype = accumulator(*(leaf.dtype for leaf in leaves))
    flat = jnp.concatenate([leaf.astype(dtype).ravel() for leaf in leaves])
    return jnp.pad(flat, (0, -flat.size % n)).reshape(n, -1)


def _unpacked(message: Parts, tree: Any) -> Any:
    leaves, structure = jax.tree.flatten(tree)
    ends = [0]
    for leaf in leaves:
        ends.append(ends[-1] + math.prod(leaf.shape))
    flat = message.ravel()
    return jax.tree.unflatten(
        structure,
        [
            flat[a:b].reshape(leaf.shape).astype(leaf.dtype)
            for a, b, leaf in zip(ends, ends[1:], leaves, strict=False)
        ],
    )
