"""What compiled programs send and keep, against the formulas.

`python -m experiments.devices_forecast.compiled N ..` is the process of a test. The programs are those of
`experiments.parallel`, of a small decoder on the first N devices of the process, in float64. JSON is printed,
by number of devices and kind: pairs of what is read of the program and of what the formulas say.
"""

import json
import sys
from functools import partial
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from experiments.devices_forecast import formulas
from experiments.parallel import decoder, wire
from experiments.parallel.kinds import AXIS, KINDS, Kind, mesh_of
from experiments.parallel.problem import Problem
from experiments.parallel.stack import Stack
from experiments.parallel.worker import put
from manual_bp.parallel import axes, gpt

BYTES = 8
WIDTH, HIDDEN, HEADS, LAYERS = 24, 40, 8, 8
TIMES, BATCH = 8, 8


def model() -> formulas.Model:
    """The sizes; microbatches are of one example."""
    return formulas.Model(LAYERS, WIDTH, HEADS, WIDTH, HIDDEN, BATCH, TIMES, BATCH)


def both(name: str, n: int) -> dict[str, tuple[float, float]]:
    """Of a kind by quantity: what is read, and what is said."""
    mesh = mesh_of(n)
    problem = _problem()
    kind = KINDS[name](problem, n)
    needs = formulas.KINDS[name](model(), n)
    assert needs is not None, f"{name} does not divide by {n}"
    args = [put(a, s, mesh) for a, s in zip(kind.args, kind.specs, strict=True)]
    program: Any = kind.sides(mesh)["hand"].lower(*args).compile()
    params = sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(args[0]))
    read = wire.total(wire.sent(program.as_text(), n)), params, _saved(name, kind, problem, mesh)
    return {
        what: (amount, float(BYTES * said))
        for what, amount, said in zip(needs._fields, read, needs, strict=True)
    }


def _saved(name: str, kind: Kind, problem: Problem, mesh: Mesh) -> float:
    """Bytes of the residuals of a device's blocks; of as many microbatches as the pipeline has slots."""
    over = {"tensor": {"model": AXIS}, "sequence": {"sequence": AXIS}}.get(name, {})
    stack, specs = Stack(gpt, {**problem.static, **over}), list(kind.specs[:2])
    params, x = kind.args[:2]
    slots = 1
    if name == "fsdp":  # its layers are whole while they compute
        specs[0] = P()
    if name == "pipeline":
        slots, x = min(len(x), 2 * mesh.size - 1), x[0]

    def residuals(params: Any, x: Any) -> Any:
        return stack.fwd(params, axes.vary(x, AXIS) if name == "pipeline" else x)[1]

    f = jax.shard_map(residuals, mesh=mesh, in_specs=tuple(specs), out_specs=P(AXIS))
    saved = jax.eval_shape(f, params, x)
    return slots * sum(prod(r.shape) * r.dtype.itemsize for r in jax.tree.leaves(saved)) / mesh.size


def _problem() -> Problem:
    params = decoder.init(jax.random.key(0), LAYERS, WIDTH, HIDDEN, HEADS)
    x = jnp.zeros((BATCH, TIMES, WIDTH), jnp.float64)
    static = {"heads": HEADS, "rope_base": None}
    plain = partial(decoder.plain, heads=HEADS)
    return Problem(gpt, static, params, x, x, plain, partial(decoder.specs, params, HEADS))


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    print(json.dumps({n: {kind: both(kind, int(n)) for kind in formulas.KINDS} for n in sys.argv[1:]}))
