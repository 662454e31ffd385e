"""The points an example leads to: itself, the rungs of the ladder, and what moves several leaves together.

Behind a sum or a mean of a function's output, as in a loss, the cotangents of all entries are one number: a
backward may take a shorter way there.
"""

from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.points import integers, signs
from jax_ref.verify.points.ladder import LADDER, Rung
from jax_ref.verify.points.point import EQUAL, EXAMPLE, Point, cotangent, equal
from jax_ref.verify.trees import is_floating

Args = tuple[PyTree, ...]

FAMILIES: dict[str, Callable[[Args, np.random.Generator], Iterator[tuple[str, Args]]]] = {
    "opposite signs": signs.moved,
    "other integers": integers.moved,
}
"""What moves several leaves together, each in its own way: to several points, with their names."""

RUNGS = (*LADDER, *FAMILIES)


def climb(args: Args, output: PyTree, rng: np.random.Generator, rungs: tuple[str, ...]) -> list[Point]:
    """The example, and the points of the rungs named, each with a random cotangent of `output`'s shapes.

    The example has two: one of equal entries comes behind it.
    """
    found = [Point(EXAMPLE, args, cotangent(output, rng)), Point(EQUAL, args, equal(output))]
    for name in rungs:
        moved = FAMILIES[name](args, rng) if name in FAMILIES else [(name, _moved(args, LADDER[name], rng))]
        found += [Point(where, other, cotangent(output, rng)) for where, other in moved]
    return found


def _moved(args: Args, rung: Rung, rng: np.random.Generator) -> Args:
    def leaf(x: np.ndarray) -> np.ndarray:
        if not is_floating(x) or not x.size:
            return x
        largest = float(jnp.finfo(x.dtype).max)
        values = rung(rng, x.astype(np.float64))
        return np.where(np.isfinite(x), np.clip(values, -largest, largest), values).astype(x.dtype)

    return jax.tree.map(leaf, args)
