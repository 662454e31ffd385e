"""The reference's own derivative: a central difference along one direction, its step chosen by itself."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.evaluate import Point, inner, magnitude, widened
from jax_ref.verify.oracle import is_floating

STEPS = tuple(2.0**-k for k in range(4, 24))

BEND = 6
"""Which of the steps the bend is taken at, and again four steps on, where it is 16 times less if smooth."""

ROUNDING = 1e-14
"""Relative error of a value of the reference, generously."""


def slope(reference: Callable[..., PyTree], point: Point, direction: PyTree) -> tuple[float, float]:
    """The derivative of <reference, d_output> along `direction`, and an estimate of its error.

    Richardson's (4 D(h/2) - D(h))/3 for a row of halved steps; the estimate is how far neighbours in the
    row disagree, and where they disagree least is the step taken. It is infinite at a kink, where the slopes
    to both sides stay apart as the step shrinks.
    """
    with jax.enable_x64(True):
        args, d_output, v = widened((point.args, point.d_output, direction))
        values, bends, size = map(np.asarray, _central(reference)(args, d_output, v))
    rounding = ROUNDING * float(size)
    wide, narrow = np.abs(bends[[BEND, BEND + 4]])
    if narrow > 0.3 * wide + rounding / STEPS[BEND + 4]:
        return float("nan"), float("inf")
    extrapolated = (4 * values[1:] - values[:-1]) / 3
    jumps = np.abs(np.diff(extrapolated))
    jumps = np.where(np.isfinite(jumps), jumps, np.inf)
    best = int(np.argmin(np.maximum(jumps[1:], jumps[:-1])))
    return float(extrapolated[best + 1]), float(np.max(jumps[best : best + 2])) + rounding / STEPS[best]


@functools.lru_cache(maxsize=32)
def _central(reference: Callable[..., PyTree]) -> Any:
    def differences(args: PyTree, d_output: PyTree, v: PyTree) -> tuple[jax.Array, ...]:
        def value(h: jax.Array) -> jax.Array:
            moved = jax.tree.map(lambda x, dx: x + h * dx if is_floating(x) else x, args, v)
            return inner(reference(*moved), d_output)

        here, size = (
            value(jnp.zeros(())),
            inner(*(jax.tree.map(magnitude, t) for t in (reference(*args), d_output))),
        )

        def both(h: jax.Array) -> tuple[jax.Array, jax.Array]:
            above, below = value(h), value(-h)
            return (above - below) / (2 * h), (above - 2 * here + below) / h

        return *jax.lax.map(both, jnp.array(STEPS)), size

    return jax.jit(differences)
