r"""Reversible coupling: two streams, each moved by a function of the other.

    y1 = x1 + f(x2),    y2 = x2 + g(y1)                             (1)

The inputs can be had from the outputs, so that no activation is kept:

    x2 = y2 - g(y1),    x1 = y1 - f(x2)                             (2)

    dx1 = dy1 + g'(y1) dy2                                          (3)
    dx2 = dy2 + f'(x2) dx1                                          (4)

f and g are pairs of this package's contract, `fwd(params, x)` and `bwd(params, residuals, dy)`, or `fwd(x)`
and `bwd(residuals, dy)` where their params are `None`. What (2) subtracts it has rounded: where f or g is
much larger than the stream it moves, digits of the stream are lost. `reversible_stack` is many of these.
The streams are added to and saved in at least float32, as (2) would lose the digits of a narrower one; f and
g are computed in the dtype of x.

Saved: y1, y2.  Gomez et al. 2017, arXiv:1707.04585.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, DTypeLike, Float

from manual_bp import checks
from manual_bp.bridge import Op
from manual_bp.precision import wide

Stream = Float[Array, "..."]


class Residuals(NamedTuple):
    """The outputs in at least float32, and an array without entries that has their own dtype."""

    y1: Stream
    y2: Stream
    form: Float[Array, " 0"]


def fwd(
    params: tuple[Any, Any], x1: Stream, x2: Stream, *, f: Op, g: Op
) -> tuple[tuple[Stream, Stream], Residuals]:
    """The outputs `(y1, y2)`, for the backward pass too. `params` are those of f and of g."""
    check("reversible", params, x1, x2, f=f, g=g)
    outputs = coupled(params, (wide(x1), wide(x2)), x1.dtype, f=f, g=g)
    return narrowed(outputs, x1.dtype)


def bwd(
    params: tuple[Any, Any], res: Residuals, d_output: tuple[Stream, Stream], *, f: Op, g: Op
) -> tuple[tuple[Any, Any], Stream, Stream]:
    """The cotangents of the params and of both inputs."""
    dtype = check_cotangents("reversible", d_output, res)
    dy1, dy2 = (wide(d) for d in d_output)
    d_params, d_inputs, _ = uncoupled(params, res[:2], (dy1, dy2), dtype, f=f, g=g)
    dx1, dx2 = (d.astype(dtype) for d in d_inputs)
    return d_params, dx1, dx2


def coupled(
    params: tuple[Any, Any], inputs: tuple[Stream, Stream], dtype: DTypeLike, *, f: Op, g: Op
) -> tuple[Stream, Stream]:
    """The outputs; f and g are computed in `dtype`, than which the streams may be wider."""
    (params_f, params_g), (x1, x2) = params, inputs
    moved, _ = applied(f, params_f, x2, dtype)
    checks.shape("reversible", "f(x2)", moved, x1.shape, ", the shape of x1")
    y1 = x1 + moved
    moved, _ = applied(g, params_g, y1, dtype)
    checks.shape("reversible", "g(y1)", moved, x2.shape, ", the shape of x2")
    return y1, x2 + moved  # (1)


def uncoupled(
    params: tuple[Any, Any],
    outputs: tuple[Stream, Stream],
    d_outputs: tuple[Stream, Stream],
    dtype: DTypeLike,
    *,
    f: Op,
    g: Op,
) -> tuple[tuple[Any, Any], tuple[Stream, Stream], tuple[Stream, Stream]]:
    """The cotangents of the params and of the inputs, and the inputs themselves."""
    (params_f, params_g), (y1, y2), (dy1, dy2) = params, outputs, d_outputs
    moved, res_g = applied(g, params_g, y1, dtype)
    x2 = y2 - moved  # (2)
    d_params_g, d = differentiated(g, params_g, res_g, dy2, dtype)
    dx1 = dy1 + d  # (3): y1 is an output and feeds g
    moved, res_f = applied(f, params_f, x2, dtype)
    x1 = y1 - moved  # (2)
    d_params_f, d = differentiated(f, params_f, res_f, dx1, dtype)
    dx2 = dy2 + d  # (4): x2 feeds y2 and f
    return (d_params_f, d_params_g), (dx1, dx2), (x1, x2)


def applied(op: Op, params: Any, x: Stream, dtype: DTypeLike) -> tuple[Stream, Any]:
    """`op.fwd` in `dtype`, with params if there are any; the move in the dtype of the stream."""
    x_ = x.astype(dtype)
    moved, residuals = op.fwd(x_) if params is None else op.fwd(params, x_)
    return moved.astype(x.dtype), residuals


def differentiated(op: Op, params: Any, residuals: Any, dy: Stream, dtype: DTypeLike) -> tuple[Any, Stream]:
    """`op.bwd`: the cotangents of the params, if there are any, and of the stream."""
    dy_ = dy.astype(dtype)
    d_params, dx = (None, op.bwd(residuals, dy_)) if params is None else op.bwd(params, residuals, dy_)
    return d_params, dx.astype(dy.dtype)


def narrowed(outputs: tuple[Stream, Stream], dtype: DTypeLike) -> tuple[tuple[Stream, Stream], Residuals]:
    """The outputs in the dtype of the inputs, and what is saved."""
    y1, y2 = (y.astype(dtype) for y in outputs)
    return (y1, y2), Residuals(*outputs, jnp.zeros(0, dtype))


def check_cotangents(name: str, d_output: tuple[Stream, Stream], res: Residuals) -> DTypeLike:
    """The dtype of the outputs; raise unless the cotangents have it, and their shapes."""
    letters = ("dy1", "dy2")
    given = checks.together(name, "d_output", d_output, *letters)
    for letter, d, y in zip(letters, given, res[:2], strict=True):
        checks.cotangent(name, letter, d, jax.ShapeDtypeStruct(y.shape, res.form.dtype))
    return res.form.dtype


def check(name: str, params: Any, x1: Any, x2: Any, **pairs: Any) -> None:
    """Raise unless the streams are of one dtype, there are two params, and f and g are pairs."""
    checks.floating(name, x1=x1, x2=x2)
    checks.dtype(name, "x2", x2, x1.dtype)
    two = isinstance(params, tuple) and len(params) == 2
    checks.option(name, "params", type(params).__name__, two, "a tuple of those of f and those of g")
    for letter, pair in pairs.items():
        holds = callable(getattr(pair, "fwd", None)) and callable(getattr(pair, "bwd", None))
        checks.option(name, letter, pair, holds, "a pair with fwd and bwd")
