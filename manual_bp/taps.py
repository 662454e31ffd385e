"""Taps: activations and deltas of a model's backward pass, at each op that has params.

A model's `bwd(params, res, dy, *, tap=plain, **static)` calls `tap(op, params, residuals, d_output,
**static)` where it would call `op.bwd` of an op with params, and puts what comes in place of the cotangent of
the params where that belongs in its own `Params`. So the order of the backward stays as it is written, and
whoever needs more than the gradient says what: `plain` gives the gradient, `keep` everything that the
gradient is made of, and a function of yours may reduce that at once, in the body of a scan too.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax


class Tap(NamedTuple):
    """What the backward pass has in its hands at an op: a pytree of its arrays, which may leave `jit`.

    The gradient of the params is the first of `op.bwd(params, residuals, d_output, **static)`.
    """

    op: Any
    """The op: whatever has `fwd` and `bwd`."""
    params: Any
    residuals: Any
    """What `op.fwd` saved; of `dense` the activation that it was given."""
    d_output: Any
    """The cotangent of the output: the delta."""
    static: Mapping[str, Any] = MappingProxyType({})
    """The static options of the call, by name."""


def plain(op: Any, params: Any, residuals: Any, d_output: Any, **static: Any) -> Any:
    """The cotangents: what `op.bwd` returns."""
    return op.bwd(params, residuals, d_output, **static)


def keep(op: Any, params: Any, residuals: Any, d_output: Any, **static: Any) -> Any:
    """The same, but a `Tap` in place of the cotangent of the params."""
    cotangents = op.bwd(params, residuals, d_output, **static)
    tap = Tap(op, params, residuals, d_output, static)
    is_single = not isinstance(cotangents, tuple) or hasattr(cotangents, "_fields")  # the params' alone
    return tap if is_single else (tap, *cotangents[1:])


Tapper = Callable[..., Any]
"""`tap(op, params, residuals, d_output, **static)`: something in place of the params' cotangent, then the
cotangents of the op's inputs as they are."""


def _flatten(tap: Tap) -> tuple[tuple[Any, Any, Any], tuple[Any, tuple[tuple[str, Any], ...]]]:
    return (tap.params, tap.residuals, tap.d_output), (tap.op, tuple(sorted(tap.static.items())))


def _unflatten(fixed: tuple[Any, tuple[tuple[str, Any], ...]], arrays: tuple[Any, Any, Any]) -> Tap:
    op, static = fixed
    return Tap(op, *arrays, dict(static))


jax.tree_util.register_pytree_node(Tap, _flatten, _unflatten)
