"""Mistakes in convolutions (NHWC, HWIO; of stride one and two) and in pooling of 2x2 windows.

A convolution goes through the places of its kernel: at each it is a product of a shifted input and a matrix.
"""

from functools import partial

import jax.numpy as jnp
import numpy as np
from jax import lax

from .form import Original, Planted
from .planting import edited, narrow, normal, wide


def convolution(x, kernel, bias):
    return _convolution(x, kernel, 1, 1) + bias[None, None, None]


def strided_convolution(x, kernel):
    return _convolution(x, kernel, 2, 0)


def _convolution(x, kernel, stride, padding):
    dimensions = ("NHWC", "HWIO", "NHWC")
    pads = [(padding, padding)] * 2
    return lax.conv_general_dilated(x, kernel, (stride, stride), pads, dimension_numbers=dimensions)


def _padded(x, padding):
    return jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))


def _window(place, stride, output):
    """What of the padded input meets this place of the kernel, for an output of this shape."""
    ends = (start + stride * (n - 1) + 1 for start, n in zip(place, output[1:3], strict=True))
    return slice(None), *(slice(start, end, stride) for start, end in zip(place, ends, strict=True))


def _forward(x, kernel, stride, padding):
    x, kernel = _padded(wide(x), padding), wide(kernel)
    height, width, _, channels = kernel.shape
    shape = len(x), (x.shape[1] - height) // stride + 1, (x.shape[2] - width) // stride + 1, channels
    places = np.ndindex(height, width)
    return sum((x[_window(at, stride, shape)] @ kernel[at] for at in places), jnp.zeros(shape, x.dtype))


def _convolution_bwd(residuals, dy, stride, padding, *, of_x=None, of_kernel=None, crop=None, turned=False):
    """The cotangents of x and of the kernel; each may take another stride."""
    x, kernel = residuals
    dtype, inner = x.dtype, x.shape[1:3]
    x, kernel, dy = _padded(wide(x), padding), wide(kernel), wide(dy)
    dx, dkernel = jnp.zeros_like(x), jnp.zeros_like(kernel)
    for at in np.ndindex(*kernel.shape[:2]):
        matrix = (kernel[::-1, ::-1] if turned else kernel)[at]
        dx = dx.at[_window(at, of_x or stride, dy.shape)].add(dy @ matrix.T)
        seen = x[_window(at, of_kernel or stride, dy.shape)]
        dkernel = dkernel.at[at].set(jnp.einsum("nhwi,nhwo->io", seen, dy))
    first = padding if crop is None else crop
    dx = dx[:, first : first + inner[0], first : first + inner[1]]
    return narrow(dtype, dx, dkernel)


def convolution_fwd(x, kernel, bias):
    y = _forward(x, kernel, 1, 1) + wide(bias)[None, None, None]
    return y.astype(x.dtype), (x, kernel)


def convolution_bwd(residuals, dy, **changes):
    dx, dkernel = _convolution_bwd(residuals, dy, 1, 1, **changes)
    return dx, dkernel, wide(dy).sum((0, 1, 2)).astype(dy.dtype)


def strided_convolution_fwd(x, kernel):
    return _forward(x, kernel, 2, 0).astype(x.dtype), (x, kernel)


def strided_convolution_bwd(residuals, dy, **changes):
    return _convolution_bwd(residuals, dy, 2, 0, **changes)


def _convolution_args(rng, realistic):
    batch, height, width, channels = (16, 12, 12, 16) if realistic else (3, 5, 4, 2)
    kernel = normal(rng, 3, 3, channels, channels) / (9 * channels) ** 0.5
    return normal(rng, batch, height, width, channels), kernel, normal(rng, channels)


def _strided_args(rng, realistic):
    x, (inner, outer) = ((16, 13, 15, 8), (8, 24)) if realistic else ((3, 7, 5, 2), (2, 3))
    return normal(rng, *x), normal(rng, 3, 3, inner, outer) / (9 * inner) ** 0.5


def _kernel_not_transposed(residuals, dy, dx, dkernel, dbias):
    x, kernel = residuals
    return convolution_bwd((x, kernel.swapaxes(2, 3)), dy)[0], dkernel, dbias


def _last_column_skipped(residuals, dy, dx, dkernel):
    return dx, strided_convolution_bwd(residuals, dy.at[:, :, -1].set(0))[1]


# Pooling. The largest of a window is the first of equal ones; the four corners are its entries in order.

CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))


def max_pool(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def average_pool(x):
    batch, height, width, channels = x.shape
    return jnp.mean(x.reshape(batch, height // 2, 2, width // 2, 2, channels), (2, 4))


def _corners(x):
    return jnp.stack([x[:, i::2, j::2] for i, j in CORNERS])


def _placed(corners, corner_order=CORNERS):
    """The image whose windows have these corners."""
    _, batch, height, width, channels = corners.shape
    image = jnp.zeros((batch, 2 * height, 2 * width, channels), corners.dtype)
    for values, (i, j) in zip(corners, corner_order, strict=True):
        image = image.at[:, i::2, j::2].set(values)
    return image


def max_pool_fwd(x):
    corners = _corners(x)
    return corners.max(0), (corners, jnp.argmax(corners, 0))


def max_pool_bwd(residuals, dy, order=CORNERS):
    _, winner = residuals
    return (_placed(jnp.where(winner[None] == jnp.arange(4).reshape(4, 1, 1, 1, 1), dy[None], 0), order),)


def _to_all_ties(residuals, dy):
    corners, _ = residuals
    return (_placed(jnp.where(corners == corners.max(0)[None], dy[None], 0)),)


def to_the_last_of_equals(residuals, dy):
    corners, _ = residuals
    return max_pool_bwd((corners, 3 - jnp.argmax(corners[::-1], 0)), dy)


def _where_positive(residuals, dy):
    corners, _ = residuals
    return max_pool_bwd(residuals, jnp.where(corners.max(0) > 0, dy, 0))


def average_pool_fwd(x):
    return (wide(_corners(x)).sum(0) / 4).astype(x.dtype), ()


def average_pool_bwd(_, dy):
    return (_placed(jnp.broadcast_to(dy / 4, (4, *dy.shape))),)


def _pool_args(rng, realistic):
    return (normal(rng, *((16, 12, 12, 16) if realistic else (3, 4, 6, 2))),)


ORIGINALS = {
    "convolution": Original(convolution_fwd, convolution_bwd, convolution, _convolution_args),
    "strided convolution": Original(
        strided_convolution_fwd, strided_convolution_bwd, strided_convolution, _strided_args
    ),
    "max pooling": Original(max_pool_fwd, max_pool_bwd, max_pool, _pool_args),
    "average pooling": Original(average_pool_fwd, average_pool_bwd, average_pool, _pool_args),
}

_conv = partial(Planted, "convolution", convolution_fwd)
_strided = partial(Planted, "strided convolution", strided_convolution_fwd)
_max = partial(Planted, "max pooling", max_pool_fwd)
_average = partial(Planted, "average pooling", average_pool_fwd)

MISTAKES = {
    "convolution: dx by the kernel turned round": _conv(partial(convolution_bwd, turned=True), ("input",)),
    "convolution: the kernel's is turned round": _conv(
        edited(convolution_bwd, lambda r, dy, dx, dk, db: (dx, dk[::-1, ::-1], db)), ("flipped",)
    ),
    "convolution: the kernel's is reversed along its rows": _conv(
        edited(convolution_bwd, lambda r, dy, dx, dk, db: (dx, dk[::-1], db)), ("flipped",)
    ),
    "convolution: the padding is not cut off dx": _conv(partial(convolution_bwd, crop=0), ("shifted",)),
    "convolution: the kernel's is rolled by one place": _conv(
        edited(convolution_bwd, lambda r, dy, dx, dk, db: (dx, jnp.roll(dk, 1, 1), db)), ("shifted",)
    ),
    "convolution: the kernel's channels are transposed": _conv(
        edited(convolution_bwd, lambda r, dy, dx, dk, db: (dx, dk.swapaxes(2, 3), db)), ("transposed",)
    ),
    "convolution: dx by the kernel not transposed": _conv(
        edited(convolution_bwd, _kernel_not_transposed), ("input",)
    ),
    "convolution: rows and columns of dx's kernel are exchanged": _conv(
        edited(
            convolution_bwd,
            lambda r, dy, dx, dk, db: (convolution_bwd((r[0], r[1].swapaxes(0, 1)), dy)[0], dk, db),
        ),
        ("input",),
    ),
    "convolution: the bias's is a mean over positions": _conv(
        edited(convolution_bwd, lambda r, dy, dx, dk, db: (dx, dk, dy.mean((1, 2)).sum(0))),
        ("reduction", "factor"),
    ),
    "convolution: the bias's is summed over images only": _conv(
        edited(convolution_bwd, lambda r, dy, dx, dk, db: (dx, dk, dy[:, 0, 0].sum(0))),
        ("reduction", "cotangent ignored"),
    ),
    "convolution: the kernel's is of the first image": _conv(
        edited(
            convolution_bwd, lambda r, dy, dx, dk, db: (dx, convolution_bwd((r[0][:1], r[1]), dy[:1])[1], db)
        ),
        ("reduction",),
    ),
    "strided convolution: the stride is ignored in dx": _strided(
        partial(strided_convolution_bwd, of_x=1), ("derivative",)
    ),
    "strided convolution: the stride is ignored in the kernel's": _strided(
        partial(strided_convolution_bwd, of_kernel=1), ("derivative",)
    ),
    "strided convolution: dx by the kernel turned round": _strided(
        partial(strided_convolution_bwd, turned=True), ("input",)
    ),
    "strided convolution: the last column is skipped in the kernel's": _strided(
        edited(strided_convolution_bwd, _last_column_skipped), ("reduction",)
    ),
    "max pooling: all that are equal receive it": _max(_to_all_ties, ("conditional",)),
    "max pooling: rows and columns of the window are exchanged": _max(
        partial(max_pool_bwd, order=((0, 0), (1, 0), (0, 1), (1, 1))), ("conditional", "transposed")
    ),
    "max pooling: shared as in average pooling": _max(
        lambda residuals, dy: average_pool_bwd((), dy), ("derivative",)
    ),
    "max pooling: nothing where the largest is negative": _max(_where_positive, ("conditional",)),
    "average pooling: not divided": _average(
        edited(average_pool_bwd, lambda _, dy, dx: (4 * dx,)), ("factor", "reduction")
    ),
    "average pooling: divided by the side": _average(
        edited(average_pool_bwd, lambda _, dy, dx: (2 * dx,)), ("factor",)
    ),
    "average pooling: only the first corner receives it": _average(
        edited(average_pool_bwd, lambda _, dy, dx: (dx.at[:, 1::2].set(0).at[:, :, 1::2].set(0),)),
        ("conditional",),
    ),
    "average pooling: tiled, not repeated": _average(
        lambda _, dy: (jnp.tile(dy / 4, (1, 2, 2, 1)),), ("transposed",)
    ),
    "average pooling: shifted by a column": _average(
        edited(average_pool_bwd, lambda _, dy, dx: (jnp.roll(dx, 1, 2),)), ("shifted",)
    ),
}
