"""Taps: activations and deltas of a model's backward pass, at each op that has params.

A model's `bwd(params, res, dy, *, tap=plain, **static)` calls `tap(op, params, residuals, d_output,
**static)` where it would call `op.bwd` of an op with params, and puts what comes in place of the cotangent of
the params where that belongs in its own `Params`. So the order of the backward stays as it is written, and
whoever needs more than the gradient says what: `plain` gives the gradient, `keep` everything that the
gradient is made of, and a function of yours may reduce that at once, in the body of a scan too.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import jax


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Tap:
    """What the backward pass has in its hands at an op: a pytree of its arrays, which may leave `jit`.

    It unpacks as `op, params, residuals, d_output`. The gradient of the params is the first of
    `op.bwd(params, residuals, d_output, **dict(static))`.
    """

    op: Any = field(metadata={"static": True})
    """The op: whatever has `fwd` and `bwd`."""
    params: Any
    residuals: Any
    """What `op.fwd` saved; of `dense` the activation that it was given."""
    d_output: Any
    """The cotangent of the output: the delta."""
    static: tuple[tuple[str, Any], ...] = field(default=(), metadata={"static": True})
    """The static options of the call, by name."""

    def __iter__(self) -> Iterator[Any]:
        yield from (self.op, self.params, self.residuals, self.d_output)


def plain(op: Any, params: Any, residuals: Any, d_output: Any, **static: Any) -> Any:
    """The cotangents: what `op.bwd` returns."""
    return op.bwd(params, residuals, d_output, **static)


def keep(op: Any, params: Any, residuals: Any, d_output: Any, **static: Any) -> Any:
    """The same, but a `Tap` in place of the cotangent of the params."""
    cotangents = op.bwd(params, residuals, d_output, **static)
    tap = Tap(op, params, residuals, d_output, tuple(static.items()))
    is_single = not isinstance(cotangents, tuple) or hasattr(cotangents, "_fields")  # the params' alone
    return tap if is_single else (tap, *cotangents[1:])


Tapper = Callable[..., Any]
"""`tap(op, params, residuals, d_output, **static)`: something in place of the params' cotangent, then the
cotangents of the op's inputs as they are."""
