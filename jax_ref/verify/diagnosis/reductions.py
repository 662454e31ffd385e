"""What each example, step or channel of the output adds to a cotangent, by the oracle."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.comparison.sides import differentiated
from jax_ref.verify.oracle import wide
from jax_ref.verify.points.point import Point
from jax_ref.verify.trees import widened

Array = np.ndarray

LIMIT = 64
"""The longest axis that is told apart."""


def axes(d_output: PyTree) -> Iterator[int]:
    """The axes that all leaves of the output have, and share the length of."""
    shapes = [np.shape(d) for d in jax.tree.leaves(d_output)]
    for axis in range(min(map(len, shapes), default=0)):
        lengths = {shape[axis] for shape in shapes}
        if len(lengths) == 1 and 1 < min(lengths) <= LIMIT:
            yield axis


def along(
    reference: Callable[..., PyTree], point: Point, axis: int, path: str, names: tuple[str, ...]
) -> Array:
    """(N, *shape): what each of the N entries along an axis of the output gives the leaf at `path`.

    A cotangent is linear in that of the output: it is the sum over entries of what their cotangents give.
    """
    with wide():
        args, d_output = widened((point.args, point.d_output))

        def alone(d: Array) -> Array:
            size = d.shape[axis]
            mask = np.eye(size).reshape(size, *(size if a == axis else 1 for a in range(d.ndim)))
            return mask * d

        def each(args: tuple[PyTree, ...], several: PyTree) -> Any:
            return jax.vmap(lambda d: differentiated(reference, args, d, names)[1][path])(several)

        return np.asarray(jax.jit(each)(args, jax.tree.map(alone, d_output)))


def reductions(c: Array, entry: str) -> Iterator[tuple[str, Callable[[Array], Array]]]:
    """Wrong ways to reduce contributions, each of an `entry`, to one cotangent of the right shape."""
    yield f"only the first {entry}'s share", lambda c: c[0]
    yield f"only the last {entry}'s share", lambda c: c[-1]
    yield f"without the last {entry}'s share", lambda c: c[:-1].sum(0)
    yield f"without the first {entry}'s share", lambda c: c[1:].sum(0)
    for tile in (2, 4, 8, 16, 32):
        whole = len(c) // tile * tile
        if whole not in (0, len(c), len(c) - 1):
            text = f"without the shares after the last whole block of {tile} {entry}s"
            yield text, lambda c, n=whole: c[:n].sum(0)
    yield f"the mean over the {entry}s, not their sum", lambda c: c.mean(0)
    yield f"the largest of the {entry}s' shares, not their sum", lambda c: c.max(0)
    for axis in range(1, c.ndim):
        if c.sum(axis).shape == c.shape[1:]:
            text = f"summed over axis {axis - 1} of each share, not over the {entry}s"
            yield text, lambda c, a=axis: c.sum(a)
