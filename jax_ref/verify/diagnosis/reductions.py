"""Wrong reductions: what each example, step or channel of the output adds to a cotangent, summed otherwise.

A cotangent is linear in that of the output: it is the sum over the entries of an axis of what their
cotangents give.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from jax_ref.verify.comparison.compare import Seen
from jax_ref.verify.diagnosis.contributions import axes
from jax_ref.verify.diagnosis.explanation import Context, Explanation

Array = np.ndarray


def explanations(path: str, seen: list[Seen], context: Context) -> Iterator[Explanation]:
    """Reductions along each axis of the output, but not along the batch of a leaf that has it too."""
    first, reference = seen[0], context.reference
    batched = list(reference.leaves(first.point.args)).index(path) in context.batched
    for axis in axes(first.point.d_output):
        if axis == 0 and batched:
            continue

        def shares(s: Seen, axis: int = axis) -> Array | None:
            return context.contributions(s).of_rows.get(axis, {}).get(path)

        of_first = shares(first)
        if of_first is None:
            continue
        entry = "example" if axis == 0 and context.batched else f"entry along axis {axis} of the output"
        for text, reduce in _reductions(of_first, entry):

            def predicted(s: Seen, of: Any = shares, reduce: Any = reduce) -> Array | None:
                found = of(s)
                return None if found is None else reduce(found)

            yield Explanation("reduction", f"it is {text}", predicted)


def _reductions(c: Array, entry: str) -> Iterator[tuple[str, Callable[[Array], Array]]]:
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
