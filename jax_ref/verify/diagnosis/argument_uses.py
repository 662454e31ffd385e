"""Wrong counts of the uses of an argument: the cotangent is the sum over its uses in the reference.

A weight that is used at every step of a recurrence, or in two layers, or an input with a path around a layer:
a backward easily forgets one of its uses, or counts it twice.
"""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.comparison.compare import Seen
from jax_ref.verify.comparison.reference import Reference
from jax_ref.verify.diagnosis.explanation import Context, Explanation
from jax_ref.verify.oracle import wide
from jax_ref.verify.points.point import Point
from jax_ref.verify.program.compiled import seldom
from jax_ref.verify.program.steps import Apart, Program, opened, run, unchanged
from jax_ref.verify.trees import widened

LIMIT = 32
"""The most uses that are differentiated one by one."""


def explanations(path: str, seen: list[Seen], context: Context) -> Iterator[Explanation]:
    """The shares of the uses, weighted otherwise than with one each."""
    first, reference = seen[0], context.reference
    which = list(reference.leaves(first.point.args)).index(path)

    @functools.cache
    def shares(s: Seen) -> Any:
        try:
            return _shares(reference, s.point, which)
        except Exception:  # an equation of any library may need more than `bind`
            return None

    if shares(first) is None or not np.all(np.isfinite(shares(first))):
        return
    for text, weights in _weights(first.cotangents[path].actual, shares(first)):
        yield Explanation("path", text, lambda s, w=weights: np.tensordot(w, shares(s), 1))


def _shares(reference: Reference, point: Point, which: int) -> np.ndarray | None:
    """(U, *shape): what each of its uses gives leaf number `which`; None for one use, or too many."""
    with wide():
        args, d_output = widened((point.args, point.d_output))
        if not 1 < _count(reference, args, which) <= LIMIT:
            return None
        return np.asarray(_by_use(reference, which)(args, d_output))


def _count(reference: Reference, args: tuple[PyTree, ...], which: int) -> int:
    """How often a leaf is used."""
    program, leaves, taken = opened(reference.function, *args), jax.tree.leaves(args), 0

    def endless() -> Iterator[jax.Array]:
        nonlocal taken
        while True:
            taken += 1
            yield leaves[which]

    jax.eval_shape(lambda: _of_copies(program, leaves, which, endless()))
    return taken


@functools.lru_cache(maxsize=32)
def _by_use(reference: Reference, which: int) -> Any:
    """`(args, d_output)` -> what each use of a leaf gives it, stacked."""

    def shares(args: tuple[PyTree, ...], d_output: PyTree) -> Any:
        program, leaves = opened(reference.function, *args), jax.tree.leaves(args)
        copies = jnp.stack([leaves[which]] * _count(reference, args, which))
        _, vjp = jax.vjp(lambda xs: _of_copies(program, leaves, which, iter(xs)), copies)
        return vjp(d_output)[0]

    return seldom(shares)


def _of_copies(program: Program, leaves: list[Any], which: int, copies: Iterator[jax.Array]) -> PyTree:
    """The output where each use of a leaf reads another of its copies."""
    return run(program, [*leaves[:which], Apart(copies), *leaves[which + 1 :]], unchanged)


def _weights(actual: np.ndarray, shares: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """What the uses could have been counted with instead of once each, and its description."""
    count, flat = len(shares), shares.reshape(len(shares), -1)
    for use in range(count):
        missing = np.ones(count)
        missing[use] = 0
        yield f"use {use + 1} of {count} of the argument in the reference is not counted", missing
        yield f"only use {use + 1} of {count} of the argument in the reference is counted", 1 - missing
    fitted = np.round(np.linalg.lstsq(flat.T, actual.ravel())[0])
    if np.max(np.abs(fitted)) <= 4 and not np.all(fitted == 1):
        numbers = ", ".join(f"{w:g}" for w in fitted)
        yield (
            f"the {count} uses of the argument in the reference are counted {numbers} times, not once",
            fitted,
        )
