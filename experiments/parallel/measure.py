"""Settings, and the processes that measure."""

import dataclasses
import json
import os
import sys
from typing import Annotated, Any

import jax

from experiments.common import processes, study, team
from experiments.common.options import Between, OneOf
from experiments.parallel import problem, worker
from experiments.parallel.kinds import KINDS
from manual_bp.parallel import pipeline

SOON = "--xla_backend_optimization_level=0"
"""How machine code is generated: soon, as nothing is timed. What is sent and kept is decided before."""


@dataclasses.dataclass(frozen=True)
class Settings(study.Settings):
    """What this study can be told."""

    processes: Annotated[int, Between(1, 64)] = 4
    """Processes on this machine, or on all machines together; in a job of SLURM or Kubernetes, its own."""
    devices_per_process: Annotated[int, Between(1, 64)] = 1
    """Devices of each process: of a CPU, parts that it is divided into."""
    kinds: Annotated[tuple[str, ...], OneOf(KINDS)] = ()
    """Kinds of parallelism; by default all that the model allows."""
    model: Annotated[str, OneOf(problem.MODELS)] = "gpt"
    """What is differentiated."""
    time_limit: Annotated[int, Between(1, 86_400)] = 600
    """Seconds after which the processes are ended."""
    port: Annotated[int, Between(0, 65_535)] = 0
    """Where the processes meet, 0 for a port that is free."""
    coordinator: str = ""
    """HOST:PORT of the first process, where this is started once on each machine."""
    process_id: Annotated[int, Between(0, 65_535)] | None = None
    """The number of this process among those that are started with --coordinator, from 0."""


def measure(settings: Settings) -> study.Figures:
    """The figures of each kind, of processes that are started here or by the user."""
    joined = jax.distributed.is_initialized()
    count = jax.process_count() if joined else settings.processes
    devices = count * settings.devices_per_process
    names = settings.kinds or tuple(problem.MODELS[settings.model].split)
    mesh = f"--processes {count} --devices-per-process {settings.devices_per_process}"
    problem.demand(settings.model, names, devices, mesh)
    given = {
        "processes": count,
        "devices": settings.devices_per_process,
        "model": settings.model,
        "kinds": list(names),
        "seed": settings.seed,
    }
    found = (
        worker.figures(settings.model, list(names), settings.seed) if joined else _launched(settings, given)
    )
    ticks = pipeline.schedule(devices, 2 * devices) if "pipeline" in names else ()
    return {"devices": devices, "kinds": found, "ticks": [tick._asdict() for tick in ticks]}


def _launched(settings: Settings, given: dict[str, Any]) -> Any:
    if settings.port:
        processes.demand_port(settings.port)
    given = {**given, "coordinator": f"127.0.0.1:{settings.port or processes.free_port()}"}
    first, *_ = processes.run(
        [
            [sys.executable, "-m", "experiments.parallel.worker", json.dumps({**given, "number": i})]
            for i in range(settings.processes)
        ],
        env=processes.on_cpu(SOON),
        limit=settings.time_limit,
    )
    return json.loads(first.splitlines()[-1])


def place(settings: Settings) -> team.Place | None:
    """Where this process meets others that the user or a cluster has started; None if none has."""
    team.check(settings.coordinator, settings.processes, settings.process_id)
    if settings.coordinator:
        return team.Place(settings.coordinator, settings.processes, settings.process_id)
    return team.Place(None, None, None) if team.cluster(os.environ) else None
