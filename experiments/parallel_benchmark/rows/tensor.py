"""Heads and hidden features over the devices: four sums a block, where jax.grad finds six.

Of x that goes into queries, keys and values JAX sums three cotangents, one of each product; the hand-written
backward adds them before the sum. So does a user who makes the three one product.
"""

from typing import Any

from jax.sharding import PartitionSpec as P

from experiments.parallel import decoder
from experiments.parallel.kinds import AXIS, mesh_of
from experiments.parallel.stack import Stack
from experiments.parallel_benchmark import problem
from experiments.parallel_benchmark.row import BYTES, MEMORY, Row, on, partitioned, put
from experiments.parallel_benchmark.user import by_jax
from manual_bp import losses
from manual_bp.parallel import gpt

SIZES = problem.Sizes(layers=4, width=128, hidden=512, heads=8, batch=8, times=256)


def make(dtype: Any, seed: int, small: bool) -> Row:
    """The row."""
    of = problem.of(problem.SMALL if small else SIZES, seed, dtype)
    mesh = mesh_of(4)
    specs = (decoder.specs(of.params, of.sizes.heads, AXIS, 4), P(), P())
    out = (P(), specs[0])
    stack = Stack(gpt, {**of.static, "model": AXIS})

    def hand(params: Any, x: Any, targets: Any) -> Any:
        y, res = stack.fwd(params, x)
        cost, dy = losses.mean("squared_error", y, targets)
        return cost, stack.bwd(params, res, dy)[0]

    return Row(
        str(of.sizes),
        4,
        put(of.args, specs, mesh),
        on(mesh, hand, specs, out),
        {
            "jax.grad": on(mesh, by_jax(of.layer(axis=AXIS)), specs, out),
            "jax.grad, q k v fused": on(mesh, by_jax(of.layer(axis=AXIS, fused=True)), specs, out),
            "automatic": partitioned(mesh, of.plain(), specs, out),
            "automatic, q k v fused": partitioned(mesh, of.plain(fused=True), specs, out),
        },
        of.plain(),
        (BYTES, MEMORY),
        {
            (BYTES, "jax.grad"): 0.7,
            (BYTES, "automatic"): 0.7,
            (BYTES, "jax.grad, q k v fused"): 1.0,
            (BYTES, "automatic, q k v fused"): 1.0,
        },
    )
