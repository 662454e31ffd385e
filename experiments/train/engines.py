"""The two engines, hand-written backward and autodiff, behind one interface."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from experiments.train.recipe import Model, Recipe
from manual_bp.microbatches import accumulated


class Engine(NamedTuple):
    """One way to differentiate a model; `state` is None for a model that has none."""

    value_and_grad: Callable[..., Any]
    """`value_and_grad(params, state, batch, **scaling) -> ((loss, state), grads)`; `dcost`, an array, is the
    cotangent of the loss instead of 1."""
    apply: Callable[..., Any]
    """`apply(params, state, *inputs, **static)`, the output."""

    def model(self, params: Any, state: Any) -> Model:
        """The model with these params and this state."""
        return Model(
            lambda batch: self.value_and_grad(params, state, batch)[0][0],
            functools.partial(self.apply, params, state),
            functools.partial(self.model, params),
            params,
        )


def manual(recipe: Recipe) -> Engine:
    """The engine that backpropagates by hand."""

    def output(*args: Any, **static: Any) -> Any:
        return recipe.pair.fwd(*args, **static)[0]

    return _engine(recipe, recipe.pair.value_and_grad, output)


def autodiff(recipe: Recipe) -> Engine:
    """The engine that leaves it to `jax.value_and_grad`."""
    has_aux = recipe.state is not None
    plain = jax.value_and_grad(recipe.reference.loss, has_aux=has_aux)

    def value_and_grad(params: Any, *rest: Any, dcost: Any = None, **static: Any) -> Any:
        if dcost is None:
            return plain(params, *rest, **static)
        loss = functools.partial(recipe.reference.loss, **static)
        cost, pull, *aux = jax.vjp(lambda params: loss(params, *rest), params, has_aux=has_aux)
        (grads,) = pull(dcost.astype(cost.dtype))
        return ((cost, *aux) if has_aux else cost), grads

    return _engine(recipe, value_and_grad, recipe.reference.apply)


def _engine(recipe: Recipe, value_and_grad: Callable[..., Any], apply: Callable[..., Any]) -> Engine:
    if recipe.microbatches > 1:
        value_and_grad = accumulated(value_and_grad, recipe.microbatches)

    def with_state(params: Any, state: Any, batch: Any, **scaling: Any) -> Any:
        if recipe.state is not None:
            return value_and_grad(params, state, batch, **recipe.static, **scaling)
        loss, grads = value_and_grad(params, batch, **recipe.static, **scaling)
        return (loss, None), grads

    def applied(params: Any, state: Any, *inputs: Any, **static: Any) -> Any:
        states = () if recipe.state is None else (state,)
        return apply(params, *states, *inputs, **static)

    return Engine(with_state, applied)


ENGINES = {"manual": manual, "autodiff": autodiff}
