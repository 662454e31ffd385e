"""Detection of batch axes by abstract evaluation, and the example with other batch sizes.

A batch axis is a leading axis that can be resized in several leaves together, with the output's or without.
"""

from collections.abc import Callable
from itertools import combinations
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.points.inputs import perturbed
from jax_ref.verify.points.point import BATCH, Point, cotangent
from jax_ref.verify.trees import dtype_of, is_integer


def sizes(given: int) -> tuple[int, int]:
    """Batch sizes to try beside the example's: one, and one that is odd and past it.

    Work done in blocks of any size up to the example's has a ragged last block in the second.
    """
    return 1, given + (5 if given % 2 == 0 else 4)


def resized(
    reference: Callable[..., PyTree], args: tuple[PyTree, ...], rng: np.random.Generator
) -> list[Point]:
    """The example with other batch sizes, its rows repeated and moved; none where no axis is a batch."""
    leaves = jax.tree.leaves(args)
    batched = group(reference, args) or summed(reference, args)
    points = []
    given = np.shape(leaves[batched[0]])[0] if batched else 0
    for size in sizes(given) if batched else ():
        if size == given:
            continue
        moved = at_size(args, batched, size, rng)
        points.append(Point(f"{BATCH}{size}", moved, _cotangent(reference, moved, rng)))
    return points


def at_size(
    args: tuple[PyTree, ...], batched: tuple[int, ...], size: int, rng: np.random.Generator
) -> tuple[PyTree, ...]:
    """The arguments with so many rows in the leaves numbered, repeated and moved."""
    leaves, tree = jax.tree.flatten(args)
    given = leaves[batched[0]].shape[0]
    return jax.tree.unflatten(
        tree,
        [_rows(x, size, rng) if i in batched else _in_range(x, given, size) for i, x in enumerate(leaves)],
    )


def _in_range(x: Any, given: int, size: int) -> Any:
    """Integers that may be row numbers, as an edge's ends are, as numbers of the rows that are left."""
    rows = size < given and is_integer(x) and np.size(x) and np.min(x) >= 0 and np.max(x) < given
    return x % np.asarray(size, dtype_of(x)) if rows else x


def _cotangent(
    reference: Callable[..., PyTree], args: tuple[PyTree, ...], rng: np.random.Generator
) -> PyTree:
    """One for the output of these sizes; None where the reference does not take them."""
    try:
        return cotangent(jax.eval_shape(reference, *args), rng)
    except Exception:  # whatever a user's function raises for a shape it cannot take
        return None


def group(reference: Callable[..., PyTree], args: tuple[PyTree, ...]) -> tuple[int, ...]:
    """The numbers of the leaves whose leading axis is the output's batch: the most that can be resized."""
    output = jax.tree.leaves(_shapes(reference, *jax.tree.flatten(args)))
    if not output or not output[0].shape:
        return ()
    return _largest(reference, args, output[0].shape[0], lambda shape, size: (size, *shape[1:]))


def summed(reference: Callable[..., PyTree], args: tuple[PyTree, ...]) -> tuple[int, ...]:
    """The numbers of the leaves whose leading axis is a batch that the output sums over, as in a loss."""
    lengths = {np.shape(x)[0] for x in jax.tree.leaves(args) if np.ndim(x)}
    found = (_largest(reference, args, n, lambda shape, size: shape) for n in sorted(lengths))
    return max(found, key=len, default=())


def _largest(reference: Any, args: tuple[PyTree, ...], length: int, resized: Any) -> tuple[int, ...]:
    """The largest set of leaves of that length that can be lengthened.

    `resized(shape, size)` is the shape of an output when the leaves have `size` rows.
    """
    if not length:  # no row to make others of
        return ()
    leaves, tree = jax.tree.flatten(args)
    candidates = [i for i, x in enumerate(leaves) if np.shape(x)[:1] == (length,)][:6]
    before = jax.tree.leaves(_shapes(reference, leaves, tree))
    for count in range(len(candidates), 0, -1):
        for chosen in combinations(candidates, count):
            other = [
                jax.ShapeDtypeStruct((length + 2, *x.shape[1:]), dtype_of(x)) if i in chosen else x
                for i, x in enumerate(leaves)
            ]
            try:
                after = jax.tree.leaves(_shapes(reference, other, tree))
            except Exception:  # whatever a user's function raises for a shape it cannot take
                continue
            if [x.shape for x in after] == [resized(x.shape, length + 2) for x in before]:
                return chosen
    return ()


def _shapes(reference: Any, leaves: list[Any], tree: Any) -> PyTree:
    return jax.eval_shape(reference, *jax.tree.unflatten(tree, leaves))


def _rows(x: Any, size: int, rng: np.random.Generator) -> Any:
    rows = x[np.resize(np.arange(x.shape[0]), size)]
    return perturbed(rows, lambda shape: 0.1 * rng.normal(size=shape))
