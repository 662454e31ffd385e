"""The zero of an argument that NaN or an infinity comes of, found by putting another number in its place."""

import jax
import numpy as np

from jax_ref.verify.comparison.compare import Seen
from jax_ref.verify.diagnosis.explanation import Context
from jax_ref.verify.trees import is_floating


def cause(path: str, seen: Seen, context: Context) -> str:
    """A clause that names the argument whose zeros it comes of; nothing where it is of no single one."""
    point = seen.point
    leaves, tree = jax.tree.flatten(point.args)
    for which, name in enumerate(context.reference.leaves(point.args)):
        leaf = leaves[which]
        if not is_floating(leaf) or np.all(leaf):
            continue
        moved = [*leaves[:which], np.where(leaf == 0, np.ones_like(leaf), leaf), *leaves[which + 1 :]]
        found = context.sides.manual(point._replace(args=jax.tree.unflatten(tree, moved)))[1][path]
        if np.all(np.isfinite(np.asarray(found, np.float64))):
            return f": it comes of {name} being 0, and is finite with 1 in its place"
    return ""
