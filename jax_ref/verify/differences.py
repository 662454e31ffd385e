"""The reference's own derivative: a central difference along one direction, its step chosen by itself."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.evaluate import Point, inner, widened
from jax_ref.verify.oracle import is_floating

STEPS = tuple(2.0**-k for k in range(4, 24))


def slope(reference: Callable[..., PyTree], point: Point, direction: PyTree) -> tuple[float, float]:
    """The derivative of <reference, d_output> along `direction`, and an estimate of its error.

    Richardson's (4 D(h/2) - D(h))/3 for a row of halved steps; the estimate is how far neighbours in the
    row disagree, and where they disagree least is the step taken.
    """
    with jax.enable_x64(True):
        args, d_output, v = widened((point.args, point.d_output, direction))
        values = np.asarray(_central(reference)(args, d_output, v))
    extrapolated = (4 * values[1:] - values[:-1]) / 3
    jumps = np.abs(np.diff(extrapolated))
    jumps = np.where(np.isfinite(jumps), jumps, np.inf)
    best = int(np.argmin(np.maximum(jumps[1:], jumps[:-1])))
    return float(extrapolated[best + 1]), float(np.max(jumps[best : best + 2]))


@functools.lru_cache(maxsize=256)
def _central(reference: Callable[..., PyTree]) -> Any:
    def differences(args: PyTree, d_output: PyTree, v: PyTree) -> jax.Array:
        def value(h: jax.Array) -> jax.Array:
            moved = jax.tree.map(lambda x, dx: x + h * dx if is_floating(x) else x, args, v)
            return inner(reference(*moved), d_output)

        def central(h: jax.Array) -> jax.Array:
            return (value(h) - value(-h)) / (2 * h)

        return jax.lax.map(central, jnp.array(STEPS))

    return jax.jit(differences)
