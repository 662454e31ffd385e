"""What one of the processes does: `python -m experiments.parallel.worker SETTINGS` prints figures as JSON.

SETTINGS are JSON: how many processes, which of them this is, where they meet, and what they compute.
"""

import json
import sys
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from experiments.common import processes, team
from experiments.parallel import wire
from experiments.parallel.kinds import KINDS, Kind, mesh_of
from experiments.parallel.problem import MODELS

SMALL = 1e-3
"""The least norm by which the error of a leaf is told, as a share of the largest leaf's."""


def join(place: team.Place, devices: int) -> None:
    """Meet the other processes: before any array is made."""
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_num_cpu_devices", devices)
    if place.processes != 1:
        team.join(place)


def figures(model: str, kinds: list[str], seed: int) -> dict[str, Any]:
    """By kind: the error of the hand-written side on all devices, and what each side sends and keeps.

    The other sides are compiled, not run, and by the first process alone.
    """
    n = jax.device_count()
    mesh = mesh_of(n)
    problem = MODELS[model].make(seed, n)
    made = {name: KINDS[name](problem, n) for name in kinds}
    expected = _of_one_device(jax.value_and_grad(problem.cost), problem.params, problem.x, problem.targets)
    found: dict[str, Any] = {}
    for name, kind in made.items():
        args = [put(a, s, mesh) for a, s in zip(kind.args, kind.specs, strict=True)]
        program = kind.sides(mesh)["hand"].lower(*args).compile()
        team.together(name)
        right = expected if kind.plain is None else _of_one_device(kind.plain, *kind.args)
        worst = error_of(program(*args), right)
        found[name] = {"error": worst, "sides": {"hand": _figures(program, n)}}
    errors = np.array([found[name]["error"] for name in found])
    everybody = multihost_utils.process_allgather(errors) if jax.process_count() > 1 else errors[None]
    for name, error in zip(found, np.max(everybody, 0), strict=True):
        found[name]["error"] = float(error)
    if team.is_first():
        for name, kind in made.items():
            found[name]["sides"] |= _others(kind, mesh, n)
    return found


def _of_one_device(gradient: Any, *args: Any) -> Any:
    return jax.tree.map(np.asarray, jax.jit(gradient)(*args))


def _others(kind: Kind, mesh: Mesh, n: int) -> dict[str, Any]:
    """The figures of the sides that are not by hand."""
    shapes = [
        jax.tree.map(
            lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, s)),
            tree, jax.tree.broadcast(specs, tree, is_leaf=_is_spec),
        )
        for tree, specs in zip(kind.args, kind.specs, strict=True)
    ]  # fmt: skip
    sides = {name: side for name, side in kind.sides(mesh).items() if name != "hand"}
    return {name: _figures(side.lower(*shapes).compile(), n) for name, side in sides.items()}


def _figures(program: Any, devices: int) -> dict[str, Any]:
    sent = wire.sent(program.as_text(), devices)
    return {
        "collectives": wire.counts(sent),
        "bytes": wire.total(sent),
        "memory": program.memory_analysis().temp_size_in_bytes,
    }


def put(tree: Any, specs: Any, mesh: Mesh) -> Any:
    """A tree on a mesh of which this process has some devices."""

    def put(x: Any, spec: P) -> Any:
        whole = np.asarray(x)
        return jax.make_array_from_callback(whole.shape, NamedSharding(mesh, spec), lambda at: whole[at])

    return jax.tree.map(put, tree, jax.tree.broadcast(specs, tree, is_leaf=_is_spec))


def _is_spec(x: Any) -> bool:
    return isinstance(x, P)


def error_of(found: Any, expected: Any) -> float:
    """The largest distance of a leaf on this process's devices, each by its own norm.

    The gradient of the keys' biases is zero, and what is computed is not: small leaves count by a share of
    the largest.
    """
    floor = SMALL * max(float(np.linalg.norm(whole)) for whole in jax.tree.leaves(expected[1]))
    worst = 0.0
    for leaf, whole in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        squares = [np.sum(np.square(np.asarray(s.data) - whole[s.index])) for s in leaf.addressable_shards]
        worst = max(worst, float(np.sqrt(max(squares)) / max(np.linalg.norm(whole), floor)))
    return worst


def main(settings: str) -> None:
    """Work with the other processes, and print the figures."""
    processes.end_with_the_launcher()
    given = json.loads(settings)
    join(team.Place(given["coordinator"], given["processes"], given["number"]), given["devices"])
    print(json.dumps(figures(given["model"], given["kinds"], given["seed"])))
    if given["processes"] > 1:
        jax.distributed.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
