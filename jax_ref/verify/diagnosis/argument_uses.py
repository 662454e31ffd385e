"""Wrong counts of the uses of an argument: the cotangent is the sum over its uses in the reference.

A weight that is used at every step of a recurrence, or in two layers, or an input with a path around a layer:
a backward easily forgets one of its uses, or counts it twice.
"""

import functools
from collections.abc import Callable, Iterator
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
from jax_ref.verify.program.steps import Apart, opened, run, unchanged
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
        program, leaves = opened(reference.function, *args), jax.tree.leaves(args)

        def of_copies(copies: Any) -> PyTree:
            return run(program, [*leaves[:which], Apart(iter(copies)), *leaves[which + 1 :]], unchanged)

        taken = _count(of_copies, leaves[which])
        if not 1 < taken <= LIMIT:
            return None
        _, vjp = jax.vjp(of_copies, jnp.stack([leaves[which]] * taken))
        return np.asarray(vjp(d_output)[0])


def _count(of_copies: Callable[[Iterator[jax.Array]], PyTree], leaf: jax.Array) -> int:
    """How often the leaf is used."""
    taken = 0

    def endless() -> Iterator[jax.Array]:
        nonlocal taken
        while True:
            taken += 1
            yield leaf

    jax.eval_shape(lambda: of_copies(endless()))
    return taken


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
