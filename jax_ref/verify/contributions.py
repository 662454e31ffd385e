"""What each example adds to the cotangent of an argument that all share, by the oracle."""

from collections.abc import Callable, Iterator

import jax
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.evaluate import Point, differentiated, widened

Array = np.ndarray


def of_examples(
    reference: Callable[..., PyTree],
    point: Point,
    group: tuple[int, ...],
    path: str,
    names: tuple[str, ...],
) -> Array:
    """(B, *shape): what each example gives the leaf at `path`; `group` are the leaves with a batch axis."""
    with jax.enable_x64(True):
        args, d_output = widened((point.args, point.d_output))
        leaves, tree = jax.tree.flatten(args)
        size = leaves[group[0]].shape[0]
        rows = []
        for example in range(size):
            one = [x[example : example + 1] if i in group else x for i, x in enumerate(leaves)]
            d_one = jax.tree.map(lambda d, e=example: d[e : e + 1], d_output)
            _, cotangents = differentiated(reference, jax.tree.unflatten(tree, one), d_one, names)
            rows.append(np.asarray(cotangents[path]))
    return np.stack(rows)


def reductions(c: Array) -> Iterator[tuple[str, Callable[[Array], Array]]]:
    """Wrong ways to reduce contributions to one cotangent, that give its shape."""
    yield "only the first example's share", lambda c: c[0]
    yield "only the last example's share", lambda c: c[-1]
    yield "the last example's share is missing", lambda c: c[:-1].sum(0)
    yield "the first example's share is missing", lambda c: c[1:].sum(0)
    yield "the mean over the examples, not their sum", lambda c: c.mean(0)
    yield "the largest of the examples' shares, not their sum", lambda c: c.max(0)
    for axis in range(1, c.ndim):
        if c.sum(axis).shape == c.shape[1:]:
            yield (
                f"summed over axis {axis - 1} of each share, not over the examples",
                lambda c, a=axis: c.sum(a),
            )
