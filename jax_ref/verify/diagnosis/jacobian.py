"""Wrong uses of the Jacobian J of the whole reference, where the right cotangent is dx = J^T dy."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from jax_ref.verify.comparison.compare import Seen
from jax_ref.verify.diagnosis.explanation import Context, Explanation
from jax_ref.verify.oracle import wide
from jax_ref.verify.trees import widened, with_leaf

Array = np.ndarray

LIMIT = 256
"""The most entries of which the diagonal is taken."""


def explanations(path: str, seen: list[Seen], context: Context) -> Iterator[Explanation]:
    """J left out, not transposed, reduced to its diagonal, or taken at the output instead of the input.

    There must be one output of the leaf's shape.
    """
    reference = context.reference

    def predicted(use: Callable[[Any, Array], Any]) -> Callable[[Seen], Array | None]:
        """What a use of the arguments and the cotangent, both in float64, gives at a point."""

        def at(s: Seen) -> Array | None:
            leaf = reference.leaves(s.point.args)[path]
            if getattr(s.point.d_output, "shape", None) != np.shape(leaf):
                return None
            with wide():
                found = use(*widened((s.point.args, s.point.d_output)))
                return None if found is None else np.asarray(found)

        return at

    def not_transposed(args: Any, d_output: Array) -> Any:
        leaf = reference.leaves(args)[path]
        return jax.jvp(lambda x: reference.of_leaf(args, path, x), (leaf,), (d_output,))[1]

    def diagonal(args: Any, d_output: Array) -> Any:
        if d_output.size > LIMIT:
            return None
        one_at_a_time = np.eye(d_output.size).reshape(-1, *d_output.shape) * d_output
        each = jax.vmap(lambda d: reference.differentiated(args, d)[1][path])(one_at_a_time)
        return each.reshape(d_output.size, -1).diagonal().reshape(d_output.shape)

    def at_output(args: Any, d_output: Array) -> Any:
        moved = with_leaf(args, reference.names, path, reference.function(*args))
        return reference.differentiated(moved, d_output)[1][path]

    for text, use in (
        ("the Jacobian is left out: it is the cotangent of the output", lambda args, d_output: d_output),
        ("the Jacobian is not transposed", not_transposed),
        ("only the Jacobian's diagonal is used", diagonal),
        ("the Jacobian is taken at the output, not at the input", at_output),
    ):
        yield Explanation("derivative", text, predicted(use))
