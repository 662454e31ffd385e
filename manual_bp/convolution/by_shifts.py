r"""A depthwise convolution, a multiplication for each entry k of its kernel.   Axes: as in `ops.conv`, with m
features out for one in: o = i m + r.

    y_bpo  = sum_k x_bqi w_ko,    q = s p + d k - lo                (1)
    dw_ko  = sum_bp x_bqi dy_bpo                                    (2)
    dx_bqi = sum_kr w_ko dy_bpo   over p, k with s p + d k - lo = q (3)

No features are summed, and so there is no matrix product in it: (1) and (3) are sums of arrays that are
shifted, in one loop over memory. (2) goes through the examples one after the other, each of which stays in
the cache for all k. Padding is multiplied by nothing, which matters where a factor is infinite.
"""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from manual_bp import entries
from manual_bp.entries import Meeting
from manual_bp.precision import accumulator
from manual_bp.sharding import varying_as
from manual_bp.windows import Axis

ENTRIES = 64
"""The most entries of a kernel: a program of more takes long to compile."""


def output(w: Array, x: Array, *, axes: tuple[Axis, ...], groups: int) -> Array:
    """y (B, *P, O)."""
    x = _for_each_output(x, w)
    places = [a.places for a in axes]
    return _sum_of_products(w, x, axes, lambda m: m.q, lambda m: m.p, places)  # (1)


def kernel_gradient(w: Array, x: Array, dy: Array, *, axes: tuple[Axis, ...], groups: int) -> Array:
    """dw (*K, 1, O)."""
    wide, summed = accumulator(x.dtype), tuple(range(len(axes) + 1))

    def product(k: tuple[int, ...], x: Array, dy: Array) -> Array:
        m = entries.meeting(k, axes)
        if m is None:
            return jnp.zeros(dy.shape[-1], wide)
        return jnp.sum(entries.taken(x, m.q) * entries.taken(dy, m.p), summed)

    def add(dw: Array, example: tuple[Array, Array]) -> tuple[Array, None]:
        x, dy = (a[None].astype(wide) for a in example)
        return dw + jnp.stack([product(k, x, dy) for k in entries.numbers(axes)]), None  # (2)

    start = jnp.zeros((w[..., 0, 0].size, w.shape[-1]), wide)
    each = _for_each_output(x, w), dy
    return lax.scan(add, varying_as(start, each), each)[0].reshape(w.shape)


def input_gradient(w: Array, x: Array, dy: Array, *, axes: tuple[Axis, ...], groups: int) -> Array:
    """dx (B, *S, I)."""
    sizes = [a.size for a in axes]
    dx = _sum_of_products(w, dy, axes, lambda m: m.p, lambda m: m.q, sizes)  # (3)
    return jnp.sum(dx.reshape(*x.shape, w.shape[-1] // x.shape[-1]), -1)


def _for_each_output(x: Array, w: Array) -> Array:
    """x_i for each of the m features out."""
    return jnp.repeat(x, w.shape[-1] // x.shape[-1], axis=-1)


Rows = Callable[[Meeting], tuple[range, ...]]


def _sum_of_products(
    w: Array, x: Array, axes: tuple[Axis, ...], of: Rows, to: Rows, sizes: Sequence[int]
) -> Array:
    """The sum over k of w_k times x at the rows `of`, put to the rows `to` of axes of those sizes."""
    wide = accumulator(x.dtype)
    total = jnp.zeros((len(x), *sizes, w.shape[-1]), wide)
    for k in entries.numbers(axes):
        m = entries.meeting(k, axes)
        if m is not None:
            here = entries.taken(x, of(m)).astype(wide)
            product = here * jnp.broadcast_to(w[(*k, 0)].astype(wide), here.shape)
            total += entries.put(product, to(m), sizes)
    return total
