"""Batch axes, found by tracing: leading axes that can be resized together with the output's."""

from collections.abc import Callable
from itertools import combinations
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.evaluate import Point
from jax_ref.verify.points import cotangent
from jax_ref.verify.subject import dtype_of


def sizes(given: int) -> tuple[int, int]:
    """Batch sizes to try beside the example's: one, and one that is odd and past it.

    Work done in blocks of any size up to the example's has a ragged last block in the second.
    """
    return 1, given + (5 if given % 2 == 0 else 4)


def resized(
    reference: Callable[..., PyTree], args: tuple[PyTree, ...], rng: np.random.Generator
) -> list[Point]:
    """The example with other batch sizes, its rows repeated and moved; none where no axis is a batch."""
    leaves, tree = jax.tree.flatten(args)
    batched = group(reference, args)
    points = []
    given = np.shape(leaves[batched[0]])[0] if batched else 0
    for size in sizes(given) if batched else ():
        if size == given:
            continue
        moved = [_rows(x, size, rng) if i in batched else x for i, x in enumerate(leaves)]
        args_resized = jax.tree.unflatten(tree, moved)
        output = _shapes(reference, moved, tree)
        points.append(Point(f"a batch of {size}", args_resized, cotangent(output, rng)))
    return points


def group(reference: Callable[..., PyTree], args: tuple[PyTree, ...]) -> tuple[int, ...]:
    """Which leaves have the batch as their leading axis; the largest set that can be resized."""
    leaves, tree = jax.tree.flatten(args)
    output = jax.tree.leaves(_shapes(reference, leaves, tree))
    if not output or not output[0].shape:
        return ()
    size = output[0].shape[0]
    candidates = [i for i, x in enumerate(leaves) if np.shape(x)[:1] == (size,)][:6]
    for count in range(len(candidates), 0, -1):
        for chosen in combinations(candidates, count):
            if _resizes(reference, leaves, tree, chosen, size):
                return chosen
    return ()


def _resizes(reference: Any, leaves: list[Any], tree: Any, chosen: tuple[int, ...], size: int) -> bool:
    before = jax.tree.leaves(_shapes(reference, leaves, tree))
    other = [
        jax.ShapeDtypeStruct((size + 2, *x.shape[1:]), dtype_of(x)) if i in chosen else x
        for i, x in enumerate(leaves)
    ]
    try:
        after = jax.tree.leaves(_shapes(reference, other, tree))
    except Exception:  # whatever a user's function raises for a shape it cannot take
        return False
    return len(before) == len(after) and all(
        a.shape == (size + 2, *b.shape[1:]) for a, b in zip(after, before, strict=True)
    )


def _shapes(reference: Any, leaves: list[Any], tree: Any) -> PyTree:
    return jax.eval_shape(reference, *jax.tree.unflatten(tree, leaves))


def _rows(x: Any, size: int, rng: np.random.Generator) -> Any:
    rows = x[np.resize(np.arange(x.shape[0]), size)]
    if not np.issubdtype(dtype_of(x), np.floating) and str(dtype_of(x)) != "bfloat16":
        return rows
    return (np.asarray(rows, np.float64) * (1 + 0.1 * rng.normal(size=rows.shape))).astype(x.dtype)
