"""Blocks over the devices: 1F1B, which keeps 2 S - 1 microbatches, against GPipe, which keeps all M.

GPipe is the forward of all microbatches under a scan; jax.grad makes the backward of all of them after it. It
runs the user's block, and the same hand-written one, as what a schedule gains is not what a block gains.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec as P

from experiments.parallel.kinds import AXIS, mesh_of
from experiments.parallel.stack import Stack
from experiments.parallel_benchmark import problem, user
from experiments.parallel_benchmark.row import BYTES, MEMORY, TIME, Jitted, Row, on, put
from manual_bp.bridge import differentiable
from manual_bp.ops import squared_error
from manual_bp.parallel import gpt, pipeline

MICROBATCHES, EXAMPLES = 32, 2
SIZES = problem.Sizes(layers=4, width=64, hidden=256, heads=4, batch=MICROBATCHES * EXAMPLES, times=128)
SMALL = problem.SMALL._replace(layers=4, batch=6)


def make(dtype: Any, seed: int, small: bool) -> Row:
    """The row in which what a block saves is kept until its backward."""
    goals = {
        (MEMORY, "GPipe"): 0.15,
        (MEMORY, "GPipe, checkpoint"): 1.5,
        (TIME, "GPipe, same block"): 1.0,
    }
    return _make(dtype, seed, small, False, goals)


def make_recomputing(dtype: Any, seed: int, small: bool) -> Row:
    """The row in which a block keeps its input, and the forward is done again."""
    return _make(dtype, seed, small, True, {(MEMORY, "GPipe, checkpoint"): 0.6})


def _make(dtype: Any, seed: int, small: bool, recompute: bool, goals: dict[tuple[str, str], float]) -> Row:
    of = problem.of(SMALL if small else SIZES, seed, dtype)
    n, mesh = 4, mesh_of(4)
    xs, targets = (a.reshape(-1, EXAMPLES, *a.shape[1:]) for a in (of.x, of.targets))
    args = (of.params, xs, targets)
    specs = (jax.tree.map(lambda _: P(AXIS), of.params), P(), P())
    out = (P(), specs[0])
    stage = Stack(gpt, of.static)

    def hand(params: Any, xs: Any, targets: Any) -> Any:
        cost, d = pipeline.one_f_one_b(
            stage, params, xs, targets, squared_error, axis=AXIS, recompute=recompute
        )
        return cost, d.params

    def gpipe(layer: Callable[[Any, Any], Any]) -> Jitted:
        return on(mesh, partial(_gpipe, layer, n), specs, out)

    same = partial(differentiable(gpt), **of.static)
    return Row(
        f"{of.sizes}, M{len(xs)}",
        n,
        put(args, specs, mesh),
        on(mesh, hand, specs, out),
        {
            "GPipe": gpipe(of.layer()),
            "GPipe, checkpoint": gpipe(jax.checkpoint(of.layer())),
            "GPipe, same block": gpipe(same),
            "GPipe, same block, checkpoint": gpipe(jax.checkpoint(same)),
        },
        lambda params, *microbatches: of.plain()(
            params, *(a.reshape(-1, *a.shape[2:]) for a in microbatches)
        ),
        (BYTES, MEMORY, TIME),
        goals,
    )


def _gpipe(layer: Callable[[Any, Any], Any], n: int, params: Any, xs: Any, targets: Any) -> tuple[Any, Any]:
    """The cost of all microbatches, and its gradient by this stage's params."""
    s, count = lax.axis_index(AXIS), len(xs)

    def cost(params: Any) -> Any:
        def tick(x: Any, t: Any) -> tuple[Any, Any]:
            y = user.stack(layer, params, jnp.where(s == 0, xs[jnp.minimum(t, count - 1)], x))
            return lax.ppermute(y, AXIS, [(i, (i + 1) % n) for i in range(n)]), y

        start = lax.pcast(jnp.zeros_like(xs[0]), AXIS, to="varying")
        _, ys = lax.scan(tick, start, jnp.arange(count + n - 1))
        return jnp.where(s == n - 1, user.cost(ys[n - 1 :], targets), 0)

    value, grads = jax.value_and_grad(cost)(params)
    return lax.psum(value, AXIS), grads
