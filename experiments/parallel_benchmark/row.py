"""A row: one gradient by hand and by its opponents, and what is read of their compiled programs."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from experiments.common import timing
from experiments.parallel import wire, worker

BYTES, MEMORY, TIME = "bytes", "memory", "time"
"""What is measured: sent by a device, temporary on it, and seconds."""

HAND = "hand"

Function = Callable[..., Any]

Jitted = Any
"""What `jax.jit` returns."""


class Row(NamedTuple):
    """One gradient.

    `hand` and the `opponents` are functions of `args`, jitted on a mesh, and `plain` is that of one device.
    `goals` are ratios by what is measured and the opponent's name.
    """

    size: str
    devices: int
    args: tuple[Any, ...]
    hand: Jitted
    opponents: dict[str, Jitted]
    plain: Function
    measured: tuple[str, ...]
    goals: dict[tuple[str, str], float]
    tolerance: float = 1e-12
    """Of the error in float64: more where what is sent is rounded."""


Make = Callable[[Any, int, bool], Row]
"""`make(dtype, seed, small)`."""


def on(mesh: Mesh, function: Function, specs: tuple[Any, ...], out: Any) -> Jitted:
    """A function of what is on a device, jitted for arguments on a mesh."""
    return jax.jit(jax.shard_map(function, mesh=mesh, in_specs=specs, out_specs=out))


def partitioned(mesh: Mesh, function: Function, specs: tuple[Any, ...], out: Any) -> Jitted:
    """A function of whole arrays, jitted, to whose arguments it is said how they lie: XLA splits it."""

    def laid(tree: Any) -> Any:
        return jax.tree.map(lambda s: NamedSharding(mesh, s), tree, is_leaf=lambda s: isinstance(s, P))

    return jax.jit(function, in_shardings=laid(specs), out_shardings=laid(out))


def put(args: tuple[Any, ...], specs: tuple[Any, ...], mesh: Mesh) -> tuple[Any, ...]:
    """Arguments on a mesh."""
    return tuple(worker.put(a, s, mesh) for a, s in zip(args, specs, strict=True))


class Compiled:
    """A row and the programs of its sides; "hand" is one of them."""

    def __init__(self, row: Row) -> None:
        self.row = row
        sides = {HAND: row.hand, **row.opponents}
        self.programs = {name: side.lower(*row.args).compile() for name, side in sides.items()}

    def error(self) -> float:
        """The largest distance of a leaf of any side from the gradient of one device, in float64.

        Raises `ArithmeticError` if one is further than the row allows.
        """
        row = self.row
        expected = jax.tree.map(np.asarray, jax.jit(row.plain)(*jax.tree.map(np.asarray, row.args)))
        errors = {
            name: worker.error_of(program(*row.args), expected) for name, program in self.programs.items()
        }
        for name, off in errors.items():
            if not off <= row.tolerance:
                raise ArithmeticError(
                    f"{name} is {off:.3g} from the gradient of one device; expected {row.tolerance:g}"
                )
        return max(errors.values())

    def figures(self, rounds: int) -> dict[str, Any]:
        """What is measured of each side, and the ratios by hand / opponent."""
        row = self.row
        found = {name: self._read(program) for name, program in self.programs.items()}
        ratios: dict[str, dict[str, float | None]] = {
            name: {what: _ratio(amount, found[name][what]) for what, amount in found[HAND].items()}
            for name in row.opponents
        }
        if TIME in row.measured:
            calls = [partial(program, *row.args) for program in self.programs.values()]
            seconds = timing.take_turns(calls, rounds)
            of_rounds = np.median(seconds[:, :1] / seconds, 0)
            for i, name in enumerate(self.programs):
                found[name][TIME] = float(np.median(seconds[:, i]))
                if name in ratios:
                    ratios[name][TIME] = float(of_rounds[i])
        return {
            "size": row.size,
            "devices": row.devices,
            "hand": found[HAND],
            "opponents": {
                name: {
                    "figures": found[name],
                    "ratios": ratios[name],
                    "goals": {what: goal for (what, of), goal in row.goals.items() if of == name},
                }
                for name in row.opponents
            },
        }

    def _read(self, program: Any) -> dict[str, float]:
        sent = wire.total(wire.sent(program.as_text(), self.row.devices))
        found = {BYTES: sent, MEMORY: program.memory_analysis().temp_size_in_bytes}
        return {what: amount for what, amount in found.items() if what in self.row.measured}


def _ratio(ours: float, theirs: float) -> float | None:
    """None where they have nothing and we have."""
    return ours / theirs if theirs else None if ours else 1.0
