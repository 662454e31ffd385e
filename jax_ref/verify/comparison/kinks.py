"""Kinks of the reference: entries at which its one-sided difference quotients disagree."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.comparison.compare import Compared
from jax_ref.verify.comparison.reference import Reference
from jax_ref.verify.oracle import inner, wide
from jax_ref.verify.points.point import Point
from jax_ref.verify.program.compiled import Seldom
from jax_ref.verify.trees import magnitudes, widened

LIMIT = 256
"""Entries looked at, those with the largest errors first."""

STEP, NEARER = 3 / 8, 4
"""The power of the machine epsilon that is the step to each side, and how much smaller a second one is."""

ROUNDING = 50
"""Relative error of a value of the reference, in machine epsilons, generously."""

SAME = 0.3
"""How much of the jump the slopes may change by between the two steps: in a smooth function it is 3/4."""

FAR = 10
"""How many jumps of the slope a convention at a kink may be away from the mean of both slopes."""


def undecided(reference: Reference, point: Point, path: str, found: Compared) -> np.ndarray:
    """Which entries of a leaf that disagree with the oracle lie at a kink of the reference, as a mask."""
    with np.errstate(invalid="ignore"):
        off = np.abs(found.actual - found.exact).ravel()
    off[~np.isfinite(off)] = 0
    looked_at = np.argsort(-off)[:LIMIT]
    left_far, right_far, _ = one_sided(reference, point, path, looked_at)
    left, right, noise = one_sided(reference, point, path, looked_at, NEARER)
    size, jump = np.maximum(np.abs(left), np.abs(right)), np.abs(left - right)
    changed = np.abs(left - left_far) + np.abs(right - right_far)
    bent = (jump > 1e-3 * size + 1e-4 * np.max(size, initial=0.0) + noise) & (changed < SAME * jump + noise)
    near = np.abs(found.actual.ravel()[looked_at] - (left + right) / 2) <= FAR * jump
    kinks, mask = np.zeros(off.shape), np.zeros(off.shape, bool)
    kinks[looked_at] = bent
    mask[looked_at] = bent & near & (off[looked_at] > 0)
    if mask.any() and _refuted(reference, point, path, found, kinks.reshape(found.exact.shape)):
        mask[:] = False
    return mask.reshape(found.actual.shape)


def one_sided(
    reference: Reference, point: Point, path: str, entries: np.ndarray, nearer: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The slopes to the left and to the right along entries of a leaf, and their noise."""
    unit = reference.resolution.eps
    with wide():
        args, d_output = widened((point.args, point.d_output))
        left, right, noise = _one_sided(reference, path)(args, d_output, entries, unit**STEP / nearer, unit)
    return np.asarray(left), np.asarray(right), np.asarray(noise)


def _refuted(reference: Reference, point: Point, path: str, found: Compared, kinks: np.ndarray) -> bool:
    """Whether the directional derivative along all `kinks` at once exists and is not what was found.

    A maximum may give its cotangent to any of several equal entries, or a share to each, but not all of it to
    each: when they grow together it grows as fast as one.
    """
    with wide():
        args, d_output = widened((point.args, point.d_output))
        sides = _along(reference, path)(args, d_output, kinks, reference.resolution.eps)
    left, right, noise = map(float, sides)
    rounding = found.bound * np.sqrt(np.sum(kinks))
    tolerated = 1e-3 * max(abs(left), abs(right)) + noise + rounding
    off = abs(float(np.vdot(found.actual, kinks)) - (left + right) / 2)
    return abs(left - right) <= tolerated and off > 10 * tolerated


@functools.lru_cache(maxsize=32)
def _one_sided(reference: Reference, path: str) -> Any:
    """`(args, d_output, entries, step, unit) -> (left, right, noise)`: slopes to both sides by entries."""

    def differences(
        args: tuple[PyTree, ...], d_output: PyTree, entries: jax.Array, step: jax.Array, unit: jax.Array
    ) -> Any:
        leaf, value = _of_leaf(reference, args, d_output, path)

        def moved(entry: jax.Array, shift: jax.Array) -> jax.Array:
            return value(leaf.ravel().at[entry].add(shift).reshape(leaf.shape))

        steps = step * jnp.maximum(1, jnp.abs(leaf.ravel()[entries]))
        here = value(leaf)
        below = jax.lax.map(lambda e: moved(e[0], -e[1]), (entries, steps), batch_size=64)
        above = jax.lax.map(lambda e: moved(e[0], e[1]), (entries, steps), batch_size=64)
        noise = unit * _noise(reference, args, d_output)
        return (here - below) / steps, (above - here) / steps, noise / steps

    return Seldom(differences)


@functools.lru_cache(maxsize=32)
def _along(reference: Reference, path: str) -> Any:
    """`(args, d_output, direction, unit) -> (left, right, noise)`: the same along a direction of the leaf."""

    def differences(args: tuple[PyTree, ...], d_output: PyTree, direction: jax.Array, unit: jax.Array) -> Any:
        leaf, value = _of_leaf(reference, args, d_output, path)
        step = unit**STEP * jnp.maximum(1, jnp.max(jnp.abs(leaf)))
        below, here, above = (value(leaf + sign * step * direction) for sign in (-1, 0, 1))
        noise = unit * _noise(reference, args, d_output)
        return (here - below) / step, (above - here) / step, noise / step

    return Seldom(differences)


def _of_leaf(
    reference: Reference, args: Any, d_output: PyTree, path: str
) -> tuple[jax.Array, Callable[[jax.Array], jax.Array]]:
    """A leaf, and <reference, d_output> as a function of it."""

    def value(leaf: jax.Array) -> jax.Array:
        return inner(reference.of_leaf(args, path, leaf), d_output)

    return reference.leaves(args)[path], value


def _noise(reference: Reference, args: Any, d_output: PyTree) -> Any:
    """The rounding error of <reference, d_output>, in machine epsilons."""
    return ROUNDING * inner(magnitudes(reference.function(*args)), magnitudes(d_output))
