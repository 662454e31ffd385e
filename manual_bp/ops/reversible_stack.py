r"""A stack of reversible couplings with the memory of one.   Axes: L layers.

    (x1, x2)_{l+1} = reversible((x1, x2)_l) with the params of layer l      (1)

Backwards, layer by layer, the inputs of each are made from its outputs, which are the inputs of the one
after: only the last outputs are kept, whatever L is. The streams are carried in at least float32, as rounding
adds up over the layers; f and g are computed in the dtype of x.

Saved: y1, y2 of the last layer.  Gomez et al. 2017, arXiv:1707.04585.
"""

from typing import Any

import jax
import jax.numpy as jnp

from manual_bp import checks
from manual_bp.bridge import Op
from manual_bp.ops import reversible
from manual_bp.ops.reversible import Residuals, Stream
from manual_bp.precision import wide


def fwd(
    params: tuple[Any, Any], x1: Stream, x2: Stream, *, f: Op, g: Op
) -> tuple[tuple[Stream, Stream], Residuals]:
    """The outputs `(y1, y2)` of the last layer; `params` are those of f and g, stacked on a leading axis."""
    reversible.check("reversible_stack", params, x1, x2, f=f, g=g)
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(params)]
    stacked = len({shape[:1] for shape in shapes}) == 1 and () not in shapes
    expected = "arrays of f or of g with one leading axis, that of the layers"
    checks.option("reversible_stack", "shapes of params", shapes, stacked, expected)

    def layer(streams: tuple[Stream, Stream], params: tuple[Any, Any]) -> tuple[tuple[Stream, Stream], None]:
        return reversible.coupled(params, streams, x1.dtype, f=f, g=g), None

    outputs, _ = jax.lax.scan(layer, (wide(x1), wide(x2)), params)  # (1)
    return reversible.narrowed(outputs, x1.dtype)


def bwd(
    params: tuple[Any, Any], res: Residuals, d_output: tuple[Stream, Stream], *, f: Op, g: Op
) -> tuple[tuple[Any, Any], Stream, Stream]:
    """The cotangents of the stacked params and of both inputs."""
    dtype = reversible.check_cotangents("reversible_stack", d_output, res)

    def layer(carry: tuple, params: tuple[Any, Any]) -> tuple[tuple, tuple[Any, Any]]:
        outputs, d_outputs = carry
        d_params, d_inputs, inputs = reversible.uncoupled(params, outputs, d_outputs, dtype, f=f, g=g)
        return (inputs, d_inputs), d_params

    last = (res.y1, res.y2), tuple(wide(d) for d in d_output)
    (_, d_inputs), d_params = jax.lax.scan(layer, last, params, reverse=True)
    dx1, dx2 = (d.astype(dtype) for d in d_inputs)
    return d_params, dx1, dx2
