r"""A depthwise convolution, a multiplication for each entry k of its kernel.   Axes: as in `ops.conv`, with m
features out for one in: o = i m + r.

    y_bpo  = sum_k x_bqi w_ko,    q = s p + d k - lo                (1)
    dw_ko  = sum_bp x_bqi dy_bpo                                    (2)
    dx_bqi = sum_kr w_ko dy_bpo   over p, k with s p + d k - lo = q (3)

No features are summed, and so there is no matrix product in it: (1) and (3) are sums of arrays that are
shifted, in one loop over memory. (2) goes through the examples one after the other, each of which stays in
the cache for all k.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from manual_bp import entries
from manual_bp.convolution import by_xla
from manual_bp.precision import accumulator
from manual_bp.sharding import varying_as
from manual_bp.windows import Axis

ENTRIES = 64
"""The most entries of a kernel: a program of more takes long to compile."""


def output(w: Array, x: Array, *, axes: tuple[Axis, ...], groups: int) -> Array:
    """y (B, *P, O)."""
    padded = entries.padded(_for_each_output(x, w), axes)
    return _sum_of_products(w, padded, axes)  # (1)


def kernel_gradient(w: Array, x: Array, dy: Array, *, axes: tuple[Axis, ...], groups: int) -> Array:
    """dw (*K, 1, O)."""
    wide = accumulator(x.dtype)
    places = tuple(range(len(axes) + 1))

    def add(dw: Array, example: tuple[Array, Array]) -> tuple[Array, None]:
        x, dy = (a[None].astype(wide) for a in example)
        each = [jnp.sum(entries.at(x, k, axes) * dy, places) for k in entries.numbers(axes)]
        return dw + jnp.stack(each), None  # (2)

    padded = entries.padded(_for_each_output(x, w), axes)
    start = jnp.zeros((w[..., 0, 0].size, w.shape[-1]), wide)
    return lax.scan(add, varying_as(start, (x, dy)), (padded, dy))[0].reshape(w.shape)


def input_gradient(w: Array, x: Array, dy: Array, *, axes: tuple[Axis, ...], groups: int) -> Array:
    """dx (B, *S, I): the shifts of the spread `dy`, by the kernel flipped."""
    edges = [(lo, hi, a.stride - 1) for (lo, hi), a in zip(by_xla.spread_padding(axes), axes, strict=True)]
    spread = lax.pad(dy, dy.dtype.type(0), [(0, 0, 0), *edges, (0, 0, 0)])
    every_place = tuple(Axis(a.size, a.window, 1, a.dilation, a.reach, 0) for a in axes)
    dx = _sum_of_products(jnp.flip(w, range(len(axes))), spread, every_place)  # (3)
    return jnp.sum(dx.reshape(*x.shape, w.shape[-1] // x.shape[-1]), -1)


def _for_each_output(x: Array, w: Array) -> Array:
    """x_i for each of the m features out."""
    return jnp.repeat(x, w.shape[-1] // x.shape[-1], axis=-1)


def _sum_of_products(w: Array, padded: Array, axes: tuple[Axis, ...]) -> Array:
    wide = accumulator(padded.dtype)

    def product(k: tuple[int, ...]) -> Array:
        here = entries.at(padded, k, axes).astype(wide)
        return here * jnp.broadcast_to(w[(*k, 0)].astype(wide), here.shape)

    first, *others = entries.numbers(axes)
    total = product(first)
    for k in others:
        total += product(k)
    return total
