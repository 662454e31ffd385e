r"""Splits: what of a step each of n devices computes, with its params whole or in parts.

    data    examples                the gradient is summed over the devices
    fsdp    examples, and params    the params are gathered for the step, the summed gradient is scattered

cost^s is the mean over the B/n examples of device s, that of all is (1/n) sum_s cost^s: so the cotangent of
cost^s is 1/n, and the gradient is a sum. A model may have splits of its own, or do one of these otherwise.

Each is a pair, whose collectives are written by hand, and a reference, whose loss is that of all devices, to
be differentiated inside `jax.shard_map`: there JAX finds the transposes of the collectives itself.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jax import lax
from jax.sharding import PartitionSpec as P

from manual_bp.parallel import axes, fsdp
from manual_bp.parallel import data as reduction

AXIS = "devices"
"""The axis of the mesh."""


class Split(NamedTuple):
    """How a model is split over the devices of `AXIS`."""

    params: Any
    """How the params lie: a spec for all leaves, or a tree of them."""
    batch: P
    """How the batch lies."""
    pair: Any
    """`value_and_grad` of what is on a device, with hand-written gradients: the loss is that of all."""
    reference: Any
    """`loss` of what is on a device: that of all; None if JAX is to split the plain one by itself."""
    state: P = P(AXIS)
    """How the state of a model lies that has one: by examples, each with its own, if nothing else is said."""


Make = Callable[[Any, Any, int], Split]
"""`make(recipe, shapes, n)`: the split of a recipe over n devices; `shapes` are those of its params."""


class Pair(NamedTuple):
    """A module's `value_and_grad`."""

    value_and_grad: Callable[..., Any]


class Reference(NamedTuple):
    """A module's `loss`, and its `apply`."""

    loss: Callable[..., Any]
    apply: Callable[..., Any]


def data(recipe: Any, shapes: Any, n: int) -> Split:
    """All params on each device."""
    return Split(P(), P(AXIS), pair_of(recipe, _to_vary, _summed), reference_of(recipe, _to_vary))


def parts(recipe: Any, shapes: Any, n: int) -> Split:
    """A part of each param on each device, where an axis divides; whole only while a step computes."""
    layout = fsdp.layout(shapes, n)

    def whole(params: Any) -> Any:
        return fsdp.gather(params, layout, axis=AXIS)

    def scattered(grads: Any) -> Any:
        return fsdp.scatter(grads, layout, axis=AXIS)

    specs = fsdp.specs(layout, AXIS)
    return Split(specs, P(AXIS), pair_of(recipe, whole, scattered), reference_of(recipe, whole))


COMMON: Mapping[str, Make] = {"data": data, "fsdp": parts}
"""What every model allows whose loss is a mean over examples, none of which sees another."""


def _to_vary(params: Any) -> Any:
    return axes.vary(params, AXIS)


def _summed(grads: Any) -> Any:
    return reduction.all_reduce(grads, axis=AXIS)


def pair_of(recipe: Any, whole: Callable[[Any], Any], reduce: Callable[[Any], Any]) -> Pair:
    """The pair where each device has examples, of `whole` params, whose gradient is reduced."""

    def value_and_grad(params: Any, *rest: Any, dcost: Any = 1.0, **static: Any) -> Any:
        share = dcost / axes.size(AXIS)
        found, grads = recipe.pair.value_and_grad(whole(params), *rest, dcost=share, **static)
        return _of_all(recipe, found), reduce(grads)

    return Pair(value_and_grad)


def reference_of(recipe: Any, whole: Callable[[Any], Any]) -> Reference:
    """The reference where each device has examples, of `whole` params."""

    def loss(params: Any, *rest: Any, **static: Any) -> Any:
        return _of_all(recipe, recipe.reference.loss(whole(params), *rest, **static))

    return Reference(loss, recipe.reference.apply)


def _of_all(recipe: Any, found: Any) -> Any:
    """The cost of all examples in place of that of this device's, beside the state if there is one."""
    cost, *state = found if recipe.state is not None else (found,)
    cost = lax.psum(axes.vary(cost, AXIS) / axes.size(AXIS), AXIS)
    return (cost, *state) if state else cost
