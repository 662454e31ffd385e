"""Reversible couplings one after the other."""

from typing import Any

import jax

from jax_ref.ops import reversible
from jax_ref.ops.reversible import Stream


def apply(params: tuple[Any, Any], x1: Stream, x2: Stream, *, f: Any, g: Any) -> tuple[Stream, Stream]:
    """The layers in their order, each with the params of its place on the leading axis."""
    (layers,) = {len(leaf) for leaf in jax.tree.leaves(params)}
    for layer in range(layers):
        x1, x2 = reversible.apply(jax.tree.map(lambda p, n=layer: p[n], params), x1, x2, f=f, g=g)
    return x1, x2
