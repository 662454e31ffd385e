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
from jax_ref.verify.program import source
from jax_ref.verify.program.compiled import Seldom
from jax_ref.verify.program.steps import Apart, Program, opened, run, unchanged
from jax_ref.verify.trees import widened

EXACT = 1e-6
"""How far a fitted count is from a whole number by rounding."""

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
    places = _places(reference, first.point, which)
    for text, weights in _weights(first.cotangents[path].actual, shares(first), places):
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

    return Seldom(shares)


def _of_copies(program: Program, leaves: list[Any], which: int, copies: Iterator[jax.Array]) -> PyTree:
    """The output where each use of a leaf reads another of its copies."""
    return run(program, [*leaves[:which], Apart(copies), *leaves[which + 1 :]], unchanged)


def _places(reference: Reference, point: Point, which: int) -> list[str]:
    """Where each use of leaf number `which` is, as a clause; nothing of those that have no source."""
    with wide():
        program = opened(reference.function, *widened(point.args))
    number = program.inputs[which]
    found = [source.expression(step) for step in program.steps for x in step.inputs if x == number]
    return [f", that in {at}" if at else "" for at in found]


def _weights(actual: np.ndarray, shares: np.ndarray, places: list[str]) -> Iterator[tuple[str, np.ndarray]]:
    """What the uses could have been counted with instead of once each, and its description."""
    count, flat = len(shares), shares.reshape(len(shares), -1)
    of = f"of {count} of the argument in the reference"
    at = dict(enumerate(places))
    for use in range(count):
        missing = np.ones(count)
        missing[use] = 0
        yield f"use {use + 1} {of} is not counted{at.get(use, '')}", missing
        yield f"only use {use + 1} {of} is counted{at.get(use, '')}", 1 - missing
    exactly = np.linalg.lstsq(flat.T, actual.ravel())[0]
    others = np.flatnonzero(np.abs(exactly - 1) > EXACT)
    if len(others) == 1 and np.linalg.matrix_rank(flat) == count:
        use = int(others[0])
        weights = np.ones(count)
        weights[use] = exactly[use]
        yield f"use {use + 1} {of} is counted {exactly[use]:.7g} times{at.get(use, '')}", weights
    fitted = np.round(exactly)
    if np.max(np.abs(fitted)) <= 4 and not np.all(fitted == 1):
        numbers = ", ".join(f"{w:g}" for w in fitted)
        yield (
            f"the {count} uses of the argument in the reference are counted {numbers} times, not once",
            fitted,
        )
