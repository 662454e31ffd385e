"""Time over the devices: ring attention that saves the logsumexp, and in whose backward the queries travel.

jax.grad keeps k and v of every stop, and what it needs of the scores unless it is told to make them again.
"""

from functools import partial
from typing import Any

import jax
from jax.sharding import PartitionSpec as P

from experiments.parallel.kinds import AXIS, mesh_of
from experiments.parallel.stack import Stack
from experiments.parallel_benchmark import problem, user
from experiments.parallel_benchmark.row import BYTES, MEMORY, Row, on, partitioned, put
from manual_bp import losses
from manual_bp.parallel import collectives, data, gpt

SIZES = problem.Sizes(layers=4, width=128, hidden=512, heads=8, batch=8, times=256)


def make(dtype: Any, seed: int, small: bool) -> Row:
    """The row."""
    of = problem.of(problem.SMALL if small else SIZES, seed, dtype)
    mesh = mesh_of(4)
    specs, out = (P(), P(None, AXIS), P(None, AXIS)), (P(), P())
    stack = Stack(gpt, {**of.static, "sequence": AXIS})

    def hand(params: Any, x: Any, targets: Any) -> Any:
        y, res = stack.fwd(params, x)
        cost, dy = losses.mean("squared_error", y, targets, 1 / 4)
        grads = data.all_reduce(stack.bwd(params, res, dy)[0], axis=AXIS)
        return collectives.all_reduce.fwd(cost / 4, axis=AXIS)[0], grads

    def by_user(ring: Any, keep: Any = lambda layer: layer) -> Any:
        side = user.share_of(keep(of.layer(attention=partial(ring, axis=AXIS))), 4, AXIS)
        return on(mesh, side, specs, out)

    return Row(
        str(of.sizes),
        4,
        put(of.args, specs, mesh),
        on(mesh, hand, specs, out),
        {
            "jax.grad": by_user(user.ring),
            "checkpoint of a stop": by_user(partial(user.ring, keep=jax.checkpoint)),
            "checkpoint of a layer": by_user(user.ring, jax.checkpoint),
            "automatic": partitioned(mesh, of.plain(), specs, out),
        },
        of.plain(),
        (BYTES, MEMORY),
        {(MEMORY, "jax.grad"): 0.5, (BYTES, "jax.grad"): 1.2},
    )
