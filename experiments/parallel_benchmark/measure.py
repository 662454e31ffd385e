"""Settings, and the process that measures: it has as many devices as a row needs."""

import dataclasses
import json
import sys
from typing import Annotated

from experiments.common import processes, study
from experiments.common.options import Between, Count, OneOf
from experiments.parallel_benchmark.rows import DEVICES, ROWS


@dataclasses.dataclass(frozen=True)
class Settings(study.Settings):
    """What this study can be told."""

    rows: Annotated[tuple[str, ...], OneOf(ROWS)] = ()
    """Rows to measure; by default all."""
    small: bool = False
    """Measure in float64, at the sizes at which the sides are held against one device: no goal counts."""
    rounds: Count = 11
    """Turns that each side takes where time is measured; more are slower and steadier."""
    time_limit: Annotated[int, Between(1, 86_400)] = 3600
    """Seconds after which the measurement is ended."""


def measure(settings: Settings) -> study.Figures:
    """The rows, of a process with as many devices as they need."""
    names = settings.rows or tuple(ROWS)
    given = {"rows": names, "small": settings.small, "rounds": settings.rounds, "seed": settings.seed}
    (printed,) = processes.run(
        [[sys.executable, "-m", "experiments.parallel_benchmark.worker", json.dumps(given)]],
        env=processes.on_cpu(f"--xla_force_host_platform_device_count={DEVICES}"),
        limit=settings.time_limit,
    )
    return {"rows": json.loads(printed.splitlines()[-1])}
