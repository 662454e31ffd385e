"""Where the reference has no derivative: the differences to its left and to its right disagree."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.evaluate import Compared, Point, inner, widened
from jax_ref.verify.oracle import is_floating
from jax_ref.verify.structure import labelled

LIMIT = 256
"""Entries looked at, those with the largest errors first."""

STEP = 1e-6

FAR = 10
"""Jumps of the slope that an answer at a kink may be off the middle: no convention is further away."""

ROUNDING = 1e-14
"""Relative error of a value of the reference, generously."""


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
    return mask.reshape(found.actual.shape)


@functools.lru_cache(maxsize=256)
def _one_sided(reference: Callable[..., PyTree], names: tuple[str, ...], path: str) -> Any:
    """`(args, d_output, entries) -> (left, right, noise)`: one-sided differences by entries of a leaf."""

    def differences(args: tuple[PyTree, ...], d_output: PyTree, entries: jax.Array) -> Any:
        paths = list(labelled(args, names))
        leaves, tree = jax.tree.flatten(args)
        which = paths.index(path)

        def value(entry: jax.Array, shift: jax.Array) -> jax.Array:
            moved = leaves[which].ravel().at[entry].add(shift).reshape(leaves[which].shape)
            given = jax.tree.unflatten(tree, [*leaves[:which], moved, *leaves[which + 1 :]])
            return inner(reference(*given), d_output)

        steps = STEP * jnp.maximum(1, jnp.abs(leaves[which].ravel()[entries]))
        here = value(entries[0], jnp.zeros(()))
        below = jax.lax.map(lambda e: value(e[0], -e[1]), (entries, steps), batch_size=64)
        above = jax.lax.map(lambda e: value(e[0], e[1]), (entries, steps), batch_size=64)
        size = inner(*(jax.tree.map(_size, tree) for tree in (reference(*args), d_output)))
        return (here - below) / steps, (above - here) / steps, ROUNDING * size / steps

    return jax.jit(differences)


def _size(x: Any) -> Any:
    return jnp.abs(x) if is_floating(x) else x
