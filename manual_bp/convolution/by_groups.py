"""A convolution in groups, one after the other: each is a convolution of one group."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from manual_bp.convolution import by_xla
from manual_bp.windows import Axis


def output(w: Array, x: Array, *, axes: tuple[Axis, ...], groups: int) -> Array:
    """y (B, *P, O)."""
    return _one_after_the_other(by_xla.output, w, x, axes=axes, groups=groups)


def kernel_gradient(w: Array, x: Array, dy: Array, *, axes: tuple[Axis, ...], groups: int) -> Array:
    """dw (*K, J, O)."""
    return _one_after_the_other(by_xla.kernel_gradient, w, x, dy, axes=axes, groups=groups)


def input_gradient(w: Array, x: Array, dy: Array, *, axes: tuple[Axis, ...], groups: int) -> Array:
    """dx (B, *S, I)."""
    return _one_after_the_other(by_xla.input_gradient, w, x, dy, axes=axes, groups=groups)


def _one_after_the_other(
    of_group: Callable[..., Array], w: Array, *arrays: Array, axes: Any, groups: int
) -> Array:
    """A group's features are next to one another in x and y, and its outputs in w."""

    def split(a: Array) -> Array:
        return jnp.moveaxis(a.reshape(*a.shape[:-1], groups, a.shape[-1] // groups), -2, 0)

    found = lax.map(lambda of: of_group(*of, axes=axes, groups=1), tuple(map(split, (w, *arrays))))
    together = jnp.moveaxis(found, 0, -2)
    return together.reshape(*together.shape[:-2], groups * together.shape[-1])
