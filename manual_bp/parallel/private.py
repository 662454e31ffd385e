r"""Private gradients: each example's clipped to a norm, summed over the devices, with noise added once.

Axes: B the examples of all devices, I features in, O features out; k numbers the layers, s the devices.

    g_b  = the gradient of the loss of example b                    (1)
    c_b  = min(1, C / |g_b|)                                        (2)
    grad = (1/B) (sum_s sum_b c_b g_b + sigma C xi),    xi ~ N(0, 1)        (3)

C is `max_norm`, sigma `noise_multiplier`, and the sums over b are those of device s. No g_b is formed: of an
affine map it is an outer product, x_bi dz_bo by the weights and dz_bo by the bias, and so

    |g_b|^2 = sum_k |dz^k_b|^2 (|x^k_b|^2 + 1)                      (4)
    sum_b c_b dw_b = x^T (c dz),    sum_b c_b db_b = sum_b c_b dz_b (5)

without the 1 where there is no bias: all that is needed are the activations x and deltas dz of one backward
pass, as `taps` have them. (5) is `dense.bwd` for the deltas of (1), each times its c.

The sum over s is one all-reduce. Noise comes behind it: every device draws the same from the same key, and
sends none of it. Drawn per device before the sum it would have n times the variance.

What (3) is private for, and by how much, is said by an accountant, of which there is none here. The cost is
the mean loss, without noise.

Abadi et al. 2016, arXiv:1607.00133 (3); Goodfellow 2015, arXiv:1510.01799 (4); Li et al. 2021,
arXiv:2110.05679 ("ghost clipping").
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Key

from manual_bp import checks
from manual_bp.losses import LOSSES
from manual_bp.ops import dense
from manual_bp.parallel import axes
from manual_bp.parallel.axes import Axis
from manual_bp.precision import accumulator, wide
from manual_bp.sharding import varying
from manual_bp.taps import Tap, keep

OP = "private"


def value_and_grad(
    model: Any,
    params: Any,
    batch: tuple[Array, Array],
    key: Key[Array, ""],
    *,
    axis: Axis,
    max_norm: float,
    noise_multiplier: float,
    loss: str = "softmax_cross_entropy",
    **static: Any,
) -> tuple[Float[Array, ""], Any]:
    """The mean loss over all devices' examples, and the private gradient (3), which all devices have.

    `model` is of dense layers, with `fwd(params, x, **static)` and a `bwd` that takes a `tap`: `models.mlp`.
    `batch` is `(x, targets)` of this device, as many examples on each; `key` is the same on all devices, and
    another in every step.
    """
    axes.check(OP, axis)
    _check(key, axis, loss, max_norm, noise_multiplier)
    max_norm, noise_multiplier = float(max_norm), float(noise_multiplier)
    x, targets = checks.together(OP, "batch", batch, "x", "targets")
    y, res = model.fwd(params, x, **static)
    losses, saved = LOSSES[loss].fwd(y, targets)
    checks.option(OP, "batch", x.shape, losses.size > 0, "at least one example")
    dy = LOSSES[loss].bwd(saved, jnp.ones_like(losses))  # (1): not the mean's 1/B
    dy = dy[0] if isinstance(dy, tuple) else dy  # floating point targets have a cotangent too
    taps = model.bwd(params, res, dy, tap=keep, **static)[0]
    norms = jnp.sqrt(sum(_squared_norms(tap) for tap in jax.tree.leaves(taps, is_leaf=_is_tap)))
    c = max_norm / jnp.maximum(norms, max_norm)  # (2)
    shares = jax.tree.map(lambda tap: _weighted(tap, c), taps, is_leaf=_is_tap)
    cost, sums = jnp.mean(losses) / axes.size(axis), shares
    if axes.names(axis):
        cost, sums = lax.psum(axes.vary((cost, sums), axis), axes.names(axis))
    count = losses.size * axes.size(axis)
    noise = drawn(key, params, noise_multiplier * max_norm)
    return cost, jax.tree.map(lambda g, xi: ((wide(g) + xi) / count).astype(g.dtype), sums, noise)  # (3)


def drawn(key: Key[Array, ""], params: Any, scale: float) -> Any:
    """Normal numbers of a standard deviation in the shapes of params, in at least float32."""
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(
        tree,
        [
            scale * jax.random.normal(k, leaf.shape, accumulator(leaf.dtype))
            for k, leaf in zip(keys, leaves, strict=True)
        ],
    )


def _squared_norms(tap: Any) -> Float[Array, "*B"]:
    """(4), of one layer."""
    if not _is_tap(tap) or tap.op is not dense:
        found = getattr(getattr(tap, "op", tap), "__name__", type(tap).__name__)
        raise TypeError(f"{OP}: model has params of {found}; expected dense layers alone")
    x, dz = wide(tap.residuals), wide(tap.d_output)
    of_input = jnp.sum(x * x, -1) + (0 if tap.params.b is None else 1)
    return jnp.sum(dz * dz, -1) * of_input


def _weighted(tap: Tap, c: Float[Array, "*B"]) -> dense.Params:
    """(5)."""
    dz = (wide(tap.d_output) * c[..., None]).astype(tap.d_output.dtype)
    return dense.bwd(tap.params, tap.residuals, dz)[0]


def _is_tap(x: Any) -> bool:
    return isinstance(x, Tap)


def _check(key: Any, axis: Axis, loss: str, max_norm: Any, noise_multiplier: Any) -> None:
    checks.choice(OP, "loss", loss, LOSSES)
    checks.number(OP, "max_norm", max_norm, lambda c: 0 < c < float("inf"), "a positive number")
    expected = "a number that is not negative"
    checks.number(OP, "noise_multiplier", noise_multiplier, lambda s: 0 <= s < float("inf"), expected)
    for name in axes.names(axis):
        if name in varying(jax.random.key_data(key)):
            raise ValueError(
                f"{OP}: key varies over mesh axis {name!r}; expected the same on all devices, as noise is "
                "drawn once for all of them"
            )
