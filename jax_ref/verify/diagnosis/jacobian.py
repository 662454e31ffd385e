"""Wrong uses of the Jacobian J of the whole reference, where the right cotangent is dx = J^T dy."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.comparison.compare import Seen
from jax_ref.verify.comparison.reference import Reference
from jax_ref.verify.diagnosis.explanation import Context, Explanation
from jax_ref.verify.oracle import wide
from jax_ref.verify.program.compiled import Seldom
from jax_ref.verify.trees import widened, with_leaf

Array = np.ndarray


def explanations(path: str, seen: list[Seen], context: Context) -> Iterator[Explanation]:
    """J left out, not transposed, reduced to its diagonal, or taken at the output instead of the input.

    There must be one output of the leaf's shape.
    """
    reference, sides = context.reference, context.sides

    def predicted(use: Callable[[Seen], Any]) -> Callable[[Seen], Array | None]:
        """What a use gives at a point."""

        def at(s: Seen) -> Array | None:
            leaf = reference.leaves(s.point.args)[path]
            if getattr(s.point.d_output, "shape", None) != np.shape(leaf):
                return None
            found = use(s)
            return None if found is None else np.asarray(found)

        return at

    def not_transposed(s: Seen) -> Any:
        with wide():
            return _forward(reference, path)(*widened((s.point.args, s.point.d_output)))

    def diagonal(s: Seen) -> Any:
        found = context.contributions(s).of_entries.get(path)
        return None if found is None else found.reshape(len(found), -1).diagonal().reshape(found.shape[1:])

    def at_output(s: Seen) -> Any:
        point = s.point._replace(args=widened(s.point.args))
        moved = with_leaf(point.args, reference.names, path, np.asarray(sides.in_float64(point)[0]))
        return sides.in_float64(point._replace(args=moved))[1][path]

    for text, use in (
        ("the Jacobian is left out: it is the cotangent of the output", lambda s: widened(s.point.d_output)),
        ("the Jacobian is not transposed", not_transposed),
        ("only the Jacobian's diagonal is used", diagonal),
        ("the Jacobian is taken at the output, not at the input", at_output),
    ):
        yield Explanation("derivative", text, predicted(use))


@functools.lru_cache(maxsize=32)
def _forward(reference: Reference, path: str) -> Any:
    """`(args, tangent) -> J tangent`, for the leaf at `path`."""

    def pushed(args: tuple[PyTree, ...], tangent: Array) -> Any:
        return jax.jvp(
            lambda x: reference.of_leaf(args, path, x), (reference.leaves(args)[path],), (tangent,)
        )[1]

    return Seldom(pushed)
