"""Two streams, each moved by a function of the other."""

from typing import Any

from jaxtyping import Array, Float

Stream = Float[Array, "..."]


def apply(params: tuple[Any, Any], x1: Stream, x2: Stream, *, f: Any, g: Any) -> tuple[Stream, Stream]:
    """`y1 = x1 + f(x2)`, `y2 = x2 + g(y1)`."""
    (params_f, params_g) = params
    y1 = x1 + _value(f, params_f, x2)
    return y1, x2 + _value(g, params_g, y1)


def _value(op: Any, params: Any, x: Stream) -> Stream:
    return (op.fwd(x) if params is None else op.fwd(params, x))[0]
