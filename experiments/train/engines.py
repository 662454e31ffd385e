"""The two engines, hand-written backward and autodiff, behind one interface."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

import jax_ref
import manual_bp


class Engine(NamedTuple):
    """`value_and_grad(params, batch) -> (loss, grads)` and `apply(params, x) -> output`."""

    value_and_grad: Callable[..., Any]
    apply: Callable[..., Any]


def manual(model: str, loss: str, static: dict[str, Any]) -> Engine:
    """The engine that backpropagates by hand."""
    module = getattr(manual_bp.models, model)
    return Engine(
        functools.partial(module.value_and_grad, loss=loss, **static),
        lambda params, x: module.fwd(params, x, **static)[0],
    )


def autodiff(model: str, loss: str, static: dict[str, Any]) -> Engine:
    """The engine that leaves it to `jax.value_and_grad`."""
    module = getattr(jax_ref.models, model)
    return Engine(
        jax.value_and_grad(functools.partial(module.loss, loss=loss, **static)),
        functools.partial(module.apply, **static),
    )


ENGINES = {"manual": manual, "autodiff": autodiff}
