"""Mistakes in running products, inverse Fourier transforms, triangular solves and distances."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular

from .form import Original, Planted
from .planting import edited, narrow, normal, shapes, wide

# The running product along rows; its derivative is finite where there are zeros.


def running_product(x):
    return jnp.cumprod(x, 1)


def running_product_fwd(x):
    return jnp.cumprod(wide(x), 1).astype(x.dtype), x


def _without_one(x):
    """(B, T, T): at [t, s] the product of the entries up to t without that at s; zero where s is after t."""
    time = x.shape[1]
    ones = jnp.where(jnp.eye(time, dtype=bool)[None], 1, x[:, None, :])  # [b, s, t]: one at s
    products = jnp.cumprod(ones, 2).swapaxes(1, 2)
    return jnp.where(jnp.tril(jnp.ones((time, time), bool))[None], products, 0)


def running_product_bwd(x, dy, *, alone=False):
    products = _without_one(wide(x))
    if alone:
        products = jnp.where(jnp.eye(x.shape[1], dtype=bool)[None], products, 0)
    return narrow(x.dtype, jnp.einsum("bts,bt->bs", products, wide(dy)))


def _by_the_output(x, dy):
    y = jnp.cumprod(wide(x), 1)
    return narrow(x.dtype, jnp.cumsum((wide(dy) * y)[:, ::-1], 1)[:, ::-1] / wide(x))


def _from_the_start(x, dy):
    products = _without_one(wide(x))
    return narrow(x.dtype, jnp.einsum("bts,bs->bt", products, wide(dy)))


# The inverse Fourier transform of half a spectrum to an odd length, as a matrix product.


def spectrum(real, imaginary):
    z = jax.lax.complex(wide(real), wide(imaginary))
    return jnp.fft.irfft(z, 2 * real.shape[1] - 1).astype(real.dtype)


def _waves(bins, dtype):
    """The cosines and the sines of each frequency at each time, with their weights, over the length."""
    length = 2 * bins - 1
    angles = 2 * np.pi * np.outer(np.arange(bins), np.arange(length)) / length
    weights = np.where(np.arange(bins) == 0, 1, 2)[:, None] / length
    return jnp.asarray(weights * np.cos(angles), dtype), jnp.asarray(weights * np.sin(angles), dtype)


def spectrum_fwd(real, imaginary):
    cos, sin = _waves(real.shape[1], wide(real).dtype)
    return (wide(real) @ cos - wide(imaginary) @ sin).astype(real.dtype), jnp.zeros_like(real)


def spectrum_bwd(like, dy):
    cos, sin = _waves(like.shape[1], wide(dy).dtype)
    return narrow(dy.dtype, wide(dy) @ cos.T, -(wide(dy) @ sin.T))


def _at_last(change):
    return lambda c: c.at[:, -1].multiply(change)


# x of (I + the strict lower triangle of L) x = b.


def unit_solve(lower, b):
    return solve_triangular(lower, b, lower=True, unit_diagonal=True)


def unit_solve_fwd(lower, b):
    x = solve_triangular(wide(lower), wide(b), lower=True, unit_diagonal=True)
    return x.astype(b.dtype), (lower, x)


def unit_solve_bwd(residuals, dx, *, below=-1, trans=1, sign=-1):
    lower, x = residuals
    db = solve_triangular(wide(lower), wide(dx), lower=True, unit_diagonal=True, trans=trans)
    return narrow(dx.dtype, jnp.tril(sign * db @ x.T, below), db)


def _solve_args(rng, realistic):
    size, columns = (24, 5) if realistic else (5, 3)
    return 0.3 * normal(rng, size, size), normal(rng, size, columns)


def _not_masked(residuals, dx, d_lower, db):
    return (-wide(db) @ wide(residuals[1]).T).astype(dx.dtype), db


# The squared distance of each row of x to each of y.


def distances(x, y):
    return jnp.sum((x[:, None] - y[None]) ** 2, 2)


def distances_fwd(x, y):
    return jnp.sum((wide(x)[:, None] - wide(y)[None]) ** 2, 2).astype(x.dtype), (x, y)


def distances_bwd(residuals, d):
    x, y = map(wide, residuals)
    apart = 2 * wide(d)[..., None] * (x[:, None] - y[None])
    return narrow(d.dtype, apart.sum(1), -apart.sum(0))


def _by_the_sum(residuals, d, dx, dy):
    x, y = map(wide, residuals)
    return (2 * wide(d)[..., None] * (x[:, None] + y[None])).sum(1).astype(d.dtype), dy


ORIGINALS = {
    "running product": Original(
        running_product_fwd, running_product_bwd, running_product, shapes(((5, 4),), ((32, 8),))
    ),
    "spectrum to an odd length": Original(
        spectrum_fwd, spectrum_bwd, spectrum, lambda r, n: tuple(normal(r, 2, *((16, 33) if n else (3, 4))))
    ),
    "triangular solve with unit diagonal": Original(
        unit_solve_fwd, unit_solve_bwd, unit_solve, _solve_args
    ),
    "squared distances": Original(
        distances_fwd, distances_bwd, distances,
        lambda r, n: (normal(r, *((32, 16) if n else (5, 3))), normal(r, *((24, 16) if n else (4, 3)))),
    ),
}  # fmt: skip

_product = partial(Planted, "running product", running_product_fwd)
_spectrum = partial(Planted, "spectrum to an odd length", spectrum_fwd)
_solve = partial(Planted, "triangular solve with unit diagonal", unit_solve_fwd)
_distances = partial(Planted, "squared distances", distances_fwd)

MISTAKES = {
    "running product: by the output over the input": _product(_by_the_output, ("not finite",)),
    "running product: the first zero has none": _product(
        edited(running_product_bwd, lambda x, dy, dx: (jnp.where(x == 0, 0, dx),)), ("conditional",)
    ),
    "running product: of its own step alone": _product(
        partial(running_product_bwd, alone=True), ("derivative",)
    ),
    "running product: summed from the start": _product(_from_the_start, ("derivative",)),
    "spectrum: the last frequency counts once": _spectrum(
        edited(spectrum_bwd, lambda r, dy, a, b: (_at_last(0.5)(a), b)), ("conditional",)
    ),
    "spectrum: the last imaginary part has none": _spectrum(
        edited(spectrum_bwd, lambda r, dy, a, b: (a, _at_last(0)(b))), ("conditional",)
    ),
    "spectrum: all frequencies count twice": _spectrum(
        edited(spectrum_bwd, lambda r, dy, a, b: (a.at[:, 0].multiply(2), b)), ("conditional",)
    ),
    "spectrum: not over the length": _spectrum(
        edited(spectrum_bwd, lambda r, dy, a, b: (a * dy.shape[1], b * dy.shape[1])), ("factor",)
    ),
    "spectrum: not conjugated": _spectrum(edited(spectrum_bwd, lambda r, dy, a, b: (a, -b)), ("sign",)),
    "solve: the diagonal has one": _solve(partial(unit_solve_bwd, below=0), ("conditional",)),
    "solve: above the diagonal too": _solve(edited(unit_solve_bwd, _not_masked), ("conditional",)),
    "solve: not transposed": _solve(partial(unit_solve_bwd, trans=0), ("derivative",)),
    "solve: the sign of L's": _solve(partial(unit_solve_bwd, sign=1), ("sign",)),
    "solve: L's is below the second diagonal": _solve(partial(unit_solve_bwd, below=-2), ("conditional",)),
    "solve: L's is transposed": _solve(
        edited(unit_solve_bwd, lambda r, dx, dl, db: (dl.T, db)), ("transposed",)
    ),
    "distances: the two of the square": _distances(
        edited(distances_bwd, lambda r, d, dx, dy: (dx / 2, dy)), ("factor",)
    ),
    "distances: y's is not negated": _distances(
        edited(distances_bwd, lambda r, d, dx, dy: (dx, -dy)), ("sign",)
    ),
    "distances: a sum for the difference": _distances(edited(distances_bwd, _by_the_sum), ("input",)),
    "distances: those to the first are left out": _distances(
        lambda r, d: distances_bwd(r, d.at[:, 0].set(0)), ("reduction",)
    ),
}
