"""What comes of the Jacobian of the whole reference, used otherwise than it should be: dx = J^T dy."""

from collections.abc import Callable, Iterator

import jax
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.evaluate import Point, differentiated, widened
from jax_ref.verify.structure import labelled, with_leaf

Array = np.ndarray

LIMIT = 256
"""The most entries of which the diagonal is taken."""


def uses(
    reference: Callable[..., PyTree], path: str, names: tuple[str, ...]
) -> Iterator[tuple[str, Callable[[Point], Array | None]]]:
    """Descriptions, and the cotangents of the leaf at `path` that they predict; None where they cannot be.

    There must be one output of the leaf's shape.
    """

    def fits(point: Point) -> bool:
        shape = getattr(point.d_output, "shape", None)
        return shape == np.shape(labelled(point.args, names)[path])

    def identity(point: Point) -> Array | None:
        return np.asarray(point.d_output).astype(np.float64) if fits(point) else None

    def turned(point: Point) -> Array | None:
        if not fits(point):
            return None
        with jax.enable_x64(True):
            args, d_output = widened((point.args, point.d_output))
            leaf = labelled(args, names)[path]
            along = jax.jvp(lambda x: reference(*with_leaf(args, names, path, x)), (leaf,), (d_output,))
            return np.asarray(along[1])

    def diagonal(point: Point) -> Array | None:
        if not fits(point) or np.size(point.d_output) > LIMIT:
            return None
        with jax.enable_x64(True):
            args, d_output = widened((point.args, point.d_output))
            one_at_a_time = np.eye(d_output.size).reshape(-1, *d_output.shape) * d_output
            each = jax.vmap(lambda d: differentiated(reference, args, d, names)[1][path])(one_at_a_time)
            return np.asarray(each).reshape(d_output.size, -1).diagonal().reshape(d_output.shape)

    def at_output(point: Point) -> Array | None:
        if not fits(point):
            return None
        with jax.enable_x64(True):
            args, d_output = widened((point.args, point.d_output))
            moved = with_leaf(args, names, path, reference(*args))
            return np.asarray(differentiated(reference, moved, d_output, names)[1][path])

    yield "the Jacobian is left out: it is the cotangent of the output", identity
    yield "the Jacobian is not transposed", turned
    yield "only the Jacobian's diagonal is used", diagonal
    yield "the Jacobian is taken at the output, not at the input", at_output
