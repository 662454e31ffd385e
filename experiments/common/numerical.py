r"""The derivative of a scalar function f from its values alone: along a direction v, with a step h.

    forward        (f(x + h v) - f(x)) / h              = f' + h f''/2 + O(h^2)           (1)
    central        (f(x + h v) - f(x - h v)) / (2 h)    = f' + h^2 f'''/6 + O(h^4)        (2)
    complex step   Im f(x + i h v) / h                  = f' - h^2 f'''/6 + O(h^4)        (3)

f', f'' and f''' are the derivatives of t -> f(x + t v) at 0. (1) and (2) subtract two nearly equal
numbers and lose about eps |f| / h to rounding; (3) subtracts nothing, so that h can be so small that
nothing of h^2 is left. It needs an f that is analytic, and written so that it takes complex numbers.

Squire & Trapp 1998, SIAM Review 40(1), 110-112 (complex step).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

Scalar = Callable[[Any], Array]
"""A function of one array or pytree whose value is a scalar."""

CHUNK = 64
"""Coordinates of a gradient that are evaluated at once."""


def forward(f: Scalar, x: Any, direction: Any, step: Array | float) -> Array:
    """(1): x and direction are arrays or pytrees of the same shapes and dtypes."""
    h = _like(x, step)
    ahead, here = _values(f, x, direction, h, jnp.zeros_like(h))
    return (ahead - here) / h


def central(f: Scalar, x: Any, direction: Any, step: Array | float) -> Array:
    """(2): x and direction are arrays or pytrees of the same shapes and dtypes."""
    h = _like(x, step)
    ahead, behind = _values(f, x, direction, h, -h)
    return (ahead - behind) / (2 * h)


def complex_step(f: Scalar, x: Any, direction: Any, step: Array | float = 1e-30) -> Array:
    """(3): x and direction are real and of the same shapes and dtypes; f gets the complex x + i h v."""
    h = _like(x, step)
    return jnp.imag(f(jax.tree.map(lambda a, v: jax.lax.complex(a, h * v), x, direction))) / h


def gradient_by_central(f: Scalar, theta: Array, step: float = 6e-6) -> Array:
    """The gradient of f at theta (P,) by (2); the default step is about the best in float64, eps^(1/3)."""
    return _by_coordinate(lambda v: central(f, theta, v, step), theta)


def gradient_by_complex_step(f: Scalar, theta: Array, step: float = 1e-30) -> Array:
    """The gradient of f at theta (P,) by (3), to rounding; f has to take complex theta."""
    return _by_coordinate(lambda v: complex_step(f, theta, v, step), theta)


def _by_coordinate(derivative: Callable[[Array], Array], theta: Array) -> Array:
    """The derivative along each unit vector, some at a time as all of them are a P x P matrix."""
    if theta.ndim != 1:
        raise ValueError(f"theta has shape {theta.shape}; expected a vector")
    index = jnp.arange(theta.size)
    return jax.lax.map(lambda i: derivative((index == i).astype(theta.dtype)), index, batch_size=CHUNK)


def _values(f: Scalar, x: Any, direction: Any, *steps: Array) -> Array:
    """The values of f after each step, by one program: compiled apart, equal points may round differently."""
    return jax.vmap(lambda h: f(jax.tree.map(lambda a, v: a + h * v, x, direction)))(jnp.stack(steps))


def _like(x: Any, step: Array | float) -> Array:
    """The step in the dtype of x."""
    return jnp.asarray(step, jax.tree.leaves(x)[0].dtype)
