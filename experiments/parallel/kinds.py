"""Kinds of parallelism: each as it is by hand, by jax.grad of the same forward, and by automatic sharding.

A side is a function of `(params, x, targets)` that returns the cost and its gradient by the params. The first
two run in `shard_map`; the third is the plain function, to which JAX is told only how the arguments lie.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array

from experiments.parallel import private_user
from experiments.parallel.problem import Problem
from experiments.parallel.stack import Stack
from jax_ref import private as reference
from jax_ref.models import mlp as plain_mlp
from manual_bp import losses
from manual_bp.models import mlp
from manual_bp.ops import squared_error
from manual_bp.parallel import axes, collectives, data, fsdp, pipeline, private
from manual_bp.sharding import made_to_vary

AXIS = "devices"

Side = Callable[[Any, Array, Array], tuple[Array, Any]]


def mesh_of(devices: int) -> Mesh:
    """The first devices of all processes, along `AXIS`."""
    assert jax.device_count() >= devices, "the process was started with fewer"
    return Mesh(np.array(jax.devices()[:devices]), (AXIS,), axis_types=(AxisType.Auto,))


LOSS = "squared_error"

MAX_NORM = 22.0
"""Of the gradient of an example, where it is clipped."""


class Kind(NamedTuple):
    """How the arguments lie, and the three sides; `args` are `(params, x, targets)` as those take them.

    `plain` is the gradient of one device where it is another than that of the problem's cost.
    """

    specs: tuple[Any, P, P]
    args: tuple[Any, Array, Array]
    hand: Side
    jax_grad: Side
    automatic: Side | None
    plain: Side | None = None

    def sides(self, mesh: Mesh) -> dict[str, Any]:
        """Each side as a jitted function of arrays on the mesh."""
        out = (P(), self.specs[0])
        found = {
            name: jax.jit(jax.shard_map(side, mesh=mesh, in_specs=self.specs, out_specs=out))
            for name, side in (("hand", self.hand), ("jax.grad", self.jax_grad))
        }
        if self.automatic is not None:
            laid = [
                jax.tree.map(lambda s: NamedSharding(mesh, s), tree, is_leaf=lambda s: isinstance(s, P))
                for tree in (self.specs, out)
            ]
            found["automatic"] = jax.jit(self.automatic, in_shardings=laid[0], out_shardings=laid[1])
        return found


def _mean_of_shards(stack: Any, x: Array, targets: Array, params: Any, n: int) -> Array:
    """The share of the mean over all shards that is this device's, to be differentiated by JAX.

    Replicated params are cast to vary before the scan: in its body, JAX would sum their gradient there.
    """
    y, _ = stack.fwd(params, x)
    return losses.mean(LOSS, y, targets)[0] / n


def _by_jax(share: Callable[..., Array], sums: bool) -> Side:
    """jax.grad of a share of the cost: JAX itself sums the gradient of what is replicated."""

    def side(params: Any, x: Array, targets: Array) -> tuple[Array, Any]:
        cost, grads = jax.value_and_grad(lambda p: share(p, x, targets))(params)
        return (lax.psum(cost, AXIS) if sums else cost), grads

    return side


def _by_hand(stack: Any, n: int, reduce: Callable[[Any], Any]) -> Side:
    def side(params: Any, x: Array, targets: Array) -> tuple[Array, Any]:
        y, res = stack.fwd(params, x)
        cost, dy = losses.mean(LOSS, y, targets, 1 / n)
        d_params, _ = stack.bwd(params, res, dy)
        return collectives.all_reduce.fwd(cost / n, axis=AXIS)[0], reduce(d_params)

    return side


def _data(problem: Problem, n: int) -> Kind:
    stack = Stack(problem.block, problem.static)
    return Kind(
        (P(), P(AXIS), P(AXIS)),
        (problem.params, problem.x, problem.targets),
        _by_hand(stack, n, lambda d: data.all_reduce(d, axis=AXIS)),
        _by_jax(lambda p, x, t: _mean_of_shards(stack, x, t, axes.vary(p, AXIS), n), sums=True),
        jax.value_and_grad(problem.cost),
    )


def _fsdp(problem: Problem, n: int) -> Kind:
    of_one = jax.eval_shape(lambda p: jax.tree.map(lambda w: w[0], p), problem.params)
    layout = fsdp.layout(of_one, n)
    options: dict[str, Any] = {"layer": problem.block, "layout": layout, "axis": AXIS, **problem.static}

    class Layers:
        @staticmethod
        def fwd(params: Any, x: Any) -> Any:
            return fsdp.layers.fwd(params, x, **options)

        @staticmethod
        def bwd(params: Any, res: Any, dy: Any) -> Any:
            return fsdp.layers.bwd(params, res, dy, **options)

    return Kind(
        (fsdp.specs(layout, AXIS, stacked=True), P(AXIS), P(AXIS)),
        (problem.params, problem.x, problem.targets),
        _by_hand(Layers, n, lambda d: d),
        _by_jax(lambda p, x, t: _mean_of_shards(Layers, x, t, p, n), sums=True),
        jax.value_and_grad(problem.cost),
    )


def _tensor(problem: Problem, n: int) -> Kind:
    stack = Stack(problem.block, {**problem.static, "model": AXIS})

    def hand(params: Any, x: Array, targets: Array) -> tuple[Array, Any]:
        y, res = stack.fwd(params, x)
        cost, dy = losses.mean(LOSS, y, targets)
        return cost, stack.bwd(params, res, dy)[0]

    return Kind(
        (problem.specs(AXIS, n), P(), P()),
        (problem.params, problem.x, problem.targets),
        hand,
        _by_jax(lambda p, x, t: _mean_of_shards(stack, x, t, p, 1), sums=False),
        jax.value_and_grad(problem.cost),
    )


def _sequence(problem: Problem, n: int) -> Kind:
    stack = Stack(problem.block, {**problem.static, "sequence": AXIS})
    time = P(None, AXIS)
    return Kind(
        (P(), time, time),
        (problem.params, problem.x, problem.targets),
        _by_hand(stack, n, lambda d: data.all_reduce(d, axis=AXIS)),
        _by_jax(lambda p, x, t: _mean_of_shards(stack, x, t, axes.vary(p, AXIS), n), sums=True),
        jax.value_and_grad(problem.cost),
    )


def _pipeline(problem: Problem, n: int) -> Kind:
    """Microbatches of one example each."""
    stack = Stack(problem.block, problem.static)
    xs, targets = (a.reshape(len(a), 1, *a.shape[1:]) for a in (problem.x, problem.targets))

    def hand(params: Any, xs: Array, targets: Array) -> tuple[Array, Any]:
        cost, d = pipeline.one_f_one_b(stack, params, xs, targets, squared_error, axis=AXIS)
        return cost, d.params

    def gpipe(params: Any, xs: Array, targets: Array) -> Array:
        """The forward of all microbatches; JAX makes the backward of all of them after it."""
        s, count = lax.axis_index(AXIS), len(xs)

        def tick(x: Array, t: Array) -> tuple[Array, Array]:
            y, _ = stack.fwd(params, jnp.where(s == 0, xs[jnp.minimum(t, count - 1)], x))
            return collectives.shift.fwd(y, axis=AXIS)[0], y

        start = made_to_vary(jnp.zeros_like(xs[0]), frozenset([AXIS]))
        _, ys = lax.scan(tick, start, jnp.arange(count + n - 1, dtype=jnp.int32))
        cost, _ = losses.mean(LOSS, ys[n - 1 :], targets)
        return jnp.where(s == n - 1, cost, 0)

    specs = jax.tree.map(lambda _: P(AXIS), problem.params)
    args = (problem.params, xs, targets)
    return Kind((specs, P(), P()), args, hand, _by_jax(gpipe, sums=True), None)


def _private(problem: Problem, n: int) -> Kind:
    """Of a perceptron of two layers, as norms of examples are those of dense layers; one key for the noise.

    Some gradients are longer than the norm, and some are not.
    """
    width = problem.x.shape[-1]
    params = mlp.init(jax.random.key(len(problem.x)), [width, 3 * width, width], dtype=problem.x.dtype)
    key = jax.random.key(n)
    static: dict[str, Any] = {"activation": "tanh", "loss": LOSS}
    noise: dict[str, Any] = {"max_norm": MAX_NORM, "noise_multiplier": 1.0}

    def hand(params: Any, x: Array, targets: Array) -> tuple[Array, Any]:
        return private.value_and_grad(mlp, params, (x, targets), key, axis=AXIS, **noise, **static)

    def by_jax(params: Any, x: Array, targets: Array) -> tuple[Array, Any]:
        return private_user.value_and_grad(params, x, targets, key, axis=AXIS, **noise, **static)

    def plain(params: Any, x: Array, targets: Array) -> tuple[Array, Any]:
        return reference.value_and_grad(plain_mlp.loss, params, (x, targets), key, **noise, **static)

    args = (params, problem.x, problem.targets)
    return Kind((P(), P(AXIS), P(AXIS)), args, hand, by_jax, plain, plain)


KINDS: dict[str, Callable[[Problem, int], Kind]] = {
    "data": _data,
    "fsdp": _fsdp,
    "tensor": _tensor,
    "sequence": _sequence,
    "pipeline": _pipeline,
    "private": _private,
}
"""By name: the kind of a problem over so many devices."""
