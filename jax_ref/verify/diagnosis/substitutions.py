"""The right gradient at another point: a mask turned round, labels off by one, a weight that is forgotten."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax_ref.verify.points.point import Point
from jax_ref.verify.trees import dtype_of, is_floating, labelled


class Elsewhere(NamedTuple):
    """A point's arguments or cotangent changed: the kind of finding, a description, and the change."""

    kind: str
    text: str
    moved: Callable[[Point], Point]


def points(point: Point, path: str, names: tuple[str, ...]) -> Iterator[Elsewhere]:
    """What the cotangent at `path` could be the right one of."""
    for which, (name, leaf) in enumerate(labelled(point.args, names).items()):
        if name != path and hasattr(leaf, "dtype") and np.size(leaf):
            for text, change in _instead(leaf):
                moved = lambda p, w=which, c=change: p._replace(args=_replaced(p.args, w, c))  # noqa: E731
                yield Elsewhere("input", f"it is the right one for {name} {text}", moved)
    outputs = jax.tree.leaves(point.d_output)
    for which, d in enumerate(outputs):
        if not is_floating(d):
            continue
        where = f"output[{which}]" if len(outputs) > 1 else "the output"
        if len(outputs) > 1:
            yield _of_cotangent(which, np.zeros_like, f"the cotangent of {where} is not used")
        if d.size > 1:
            mean = lambda d: np.full_like(d, d.astype(np.float64).mean())  # noqa: E731
            yield _of_cotangent(
                which, mean, f"each entry of the cotangent of {where} is taken for their mean"
            )
            total = lambda d: np.full_like(d, d.astype(np.float64).sum())  # noqa: E731
            yield _of_cotangent(
                which, total, f"each entry of the cotangent of {where} is taken for their sum"
            )


def _instead(leaf: Any) -> Iterator[tuple[str, Callable[[Any], Any]]]:
    dtype = dtype_of(leaf)
    if jnp.issubdtype(dtype, jnp.bool_):
        yield "turned round", np.logical_not
        yield "that holds everywhere", np.ones_like
        yield "that holds nowhere", np.zeros_like
    elif jnp.issubdtype(dtype, jnp.integer):
        yield "+ 1", lambda x: x + np.asarray(1, x.dtype)
        yield "- 1", lambda x: x - np.asarray(1, x.dtype)
    elif is_floating(leaf):
        yield "= 1: is it forgotten?", np.ones_like
        yield "= 0: is it forgotten?", np.zeros_like
        for a, b in itertools.combinations(range(leaf.ndim), 2):
            if leaf.shape[a] == leaf.shape[b]:
                yield f"with axes {a} and {b} exchanged", lambda x, a=a, b=b: np.swapaxes(x, a, b)
        for axes in (axes for count in (1, 2) for axes in itertools.combinations(range(leaf.ndim), count)):
            yield f"reversed along {', '.join(map(str, axes))}", lambda x, axes=axes: np.flip(x, axes)


def _of_cotangent(which: int, change: Callable[[Any], Any], text: str) -> Elsewhere:
    return Elsewhere(
        "cotangent ignored", text, lambda p: p._replace(d_output=_replaced(p.d_output, which, change))
    )


def _replaced(tree: Any, which: int, change: Callable[[Any], Any]) -> Any:
    """The tree with one of its leaves changed."""
    leaves, structure = jax.tree.flatten(tree)
    leaves[which] = change(leaves[which])
    return jax.tree.unflatten(structure, leaves)
