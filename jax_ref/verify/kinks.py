"""Where the reference has no derivative: the differences to its left and to its right disagree."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.differences import ROUNDING
from jax_ref.verify.evaluate import Compared, Point, inner, magnitude, widened
from jax_ref.verify.structure import labelled

LIMIT = 256
"""Entries looked at, those with the largest errors first."""

STEP = 1e-6

FAR = 10
"""Jumps of the slope that an answer at a kink may be off the middle: no convention is further away."""


def undecided(
    reference: Callable[..., PyTree], names: tuple[str, ...], point: Point, path: str, found: Compared
) -> np.ndarray:
    """Which entries of a leaf that disagree with the oracle lie at a kink of the reference, as a mask."""
    off = np.abs(found.actual - found.exact).ravel()
    off[~np.isfinite(off)] = 0
    worst = np.argsort(-off)[:LIMIT]
    worst = worst[off[worst] > 0]
    mask = np.zeros(off.shape, bool)
    if worst.size:
        padded = np.resize(worst, min(LIMIT, off.size))  # one shape, one program
        with jax.enable_x64(True):
            args, d_output = widened((point.args, point.d_output))
            sides = _one_sided(reference, names, path)(args, d_output, padded)
        left, right, noise = (np.asarray(side)[: worst.size] for side in sides)
        size, jump = np.maximum(np.abs(left), np.abs(right)), np.abs(left - right)
        bent = jump > 1e-3 * size + 1e-4 * np.max(size, initial=0.0) + noise
        near = np.abs(found.actual.ravel()[worst] - (left + right) / 2) <= FAR * jump
        mask[worst] = bent & near
    mask = mask.reshape(found.actual.shape)
    return mask & ~(mask.any() and _refuted(reference, names, point, path, found, mask))


def _refuted(
    reference: Callable[..., PyTree],
    names: tuple[str, ...],
    point: Point,
    path: str,
    found: Compared,
    mask: np.ndarray,
) -> bool:
    """Whether no convention allows what was found, as the reference is smooth when all entries move as one.

    So a maximum may give its cotangent to any of several equal entries, or a share to each, but not all of it
    to each: when they grow together it grows as fast as one.
    """
    with jax.enable_x64(True):
        args, d_output = widened((point.args, point.d_output))
        sides = _along(reference, names, path)(args, d_output, mask.astype(np.float64))
    left, right, noise = map(float, sides)
    slope, jump = (left + right) / 2, abs(left - right)
    tolerated = 1e-3 * max(abs(left), abs(right)) + noise
    return jump <= tolerated and abs(float(np.sum(found.actual[mask])) - slope) > 10 * tolerated


@functools.lru_cache(maxsize=256)
def _one_sided(reference: Callable[..., PyTree], names: tuple[str, ...], path: str) -> Any:
    """`(args, d_output, entries) -> (left, right, noise)`: one-sided differences by entries of a leaf."""

    def differences(args: tuple[PyTree, ...], d_output: PyTree, entries: jax.Array) -> Any:
        leaf, value = _of_leaf(reference, args, d_output, names, path)

        def moved(entry: jax.Array, shift: jax.Array) -> jax.Array:
            return value(leaf.ravel().at[entry].add(shift).reshape(leaf.shape))

        steps = STEP * jnp.maximum(1, jnp.abs(leaf.ravel()[entries]))
        here = value(leaf)
        below = jax.lax.map(lambda e: moved(e[0], -e[1]), (entries, steps), batch_size=64)
        above = jax.lax.map(lambda e: moved(e[0], e[1]), (entries, steps), batch_size=64)
        return (here - below) / steps, (above - here) / steps, _noise(reference, args, d_output) / steps

    return jax.jit(differences)


@functools.lru_cache(maxsize=256)
def _along(reference: Callable[..., PyTree], names: tuple[str, ...], path: str) -> Any:
    """`(args, d_output, direction) -> (left, right, noise)`: the same along a direction of the whole leaf."""

    def differences(args: tuple[PyTree, ...], d_output: PyTree, direction: jax.Array) -> Any:
        leaf, value = _of_leaf(reference, args, d_output, names, path)
        step = STEP * jnp.maximum(1, jnp.max(jnp.abs(leaf)))
        below, here, above = (value(leaf + sign * step * direction) for sign in (-1, 0, 1))
        return (here - below) / step, (above - here) / step, _noise(reference, args, d_output) / step

    return jax.jit(differences)


def _of_leaf(
    reference: Callable[..., PyTree], args: Any, d_output: PyTree, names: tuple[str, ...], path: str
) -> tuple[jax.Array, Callable[[jax.Array], jax.Array]]:
    """A leaf, and <reference, d_output> as a function of it."""
    leaves, tree = jax.tree.flatten(args)
    which = list(labelled(args, names)).index(path)

    def value(leaf: jax.Array) -> jax.Array:
        given = jax.tree.unflatten(tree, [*leaves[:which], leaf, *leaves[which + 1 :]])
        return inner(reference(*given), d_output)

    return leaves[which], value


def _noise(reference: Callable[..., PyTree], args: Any, d_output: PyTree) -> Any:
    """The rounding error of <reference, d_output>."""
    return ROUNDING * inner(*(jax.tree.map(magnitude, tree) for tree in (reference(*args), d_output)))
