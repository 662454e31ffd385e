"""What comes of the Jacobian of the whole reference, used otherwise than it should be: dx = J^T dy."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.comparison.sides import differentiated
from jax_ref.verify.oracle import wide
from jax_ref.verify.points.point import Point
from jax_ref.verify.trees import labelled, widened, with_leaf

Array = np.ndarray

LIMIT = 256
"""The most entries of which the diagonal is taken."""


def uses(
    reference: Callable[..., PyTree], path: str, names: tuple[str, ...]
) -> Iterator[tuple[str, Callable[[Point], Array | None]]]:
    """Descriptions, and the cotangents of the leaf at `path` that they predict; None where they cannot be.

    There must be one output of the leaf's shape.
    """

    def predicted(use: Callable[[Any, Array], Any]) -> Callable[[Point], Array | None]:
        """What a use of the arguments and the cotangent, both in float64, gives at a point."""

        def at(point: Point) -> Array | None:
            if getattr(point.d_output, "shape", None) != np.shape(labelled(point.args, names)[path]):
                return None
            with wide():
                found = use(*widened((point.args, point.d_output)))
                return None if found is None else np.asarray(found)

        return at

    def turned(args: Any, d_output: Array) -> Any:
        leaf = labelled(args, names)[path]
        return jax.jvp(lambda x: reference(*with_leaf(args, names, path, x)), (leaf,), (d_output,))[1]

    def diagonal(args: Any, d_output: Array) -> Any:
        if d_output.size > LIMIT:
            return None
        one_at_a_time = np.eye(d_output.size).reshape(-1, *d_output.shape) * d_output
        each = jax.vmap(lambda d: differentiated(reference, args, d, names)[1][path])(one_at_a_time)
        return each.reshape(d_output.size, -1).diagonal().reshape(d_output.shape)

    def at_output(args: Any, d_output: Array) -> Any:
        moved = with_leaf(args, names, path, reference(*args))
        return differentiated(reference, moved, d_output, names)[1][path]

    for text, use in (
        ("the Jacobian is left out: it is the cotangent of the output", lambda args, d_output: d_output),
        ("the Jacobian is not transposed", turned),
        ("only the Jacobian's diagonal is used", diagonal),
        ("the Jacobian is taken at the output, not at the input", at_output),
    ):
        yield text, predicted(use)
