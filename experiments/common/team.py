"""The processes of a command: how they meet, what they agree on, and how they part.

A command is one process, or several that `jax.distributed` connects. Each has its devices and computes the
same program; what only one of them should do, printing and writing above all, the first does. A decision that
changes what is computed must be the same in all of them, as the others would wait in a collective for ever
for one that went another way: it is made of what all have, or `agreed` upon.
"""

import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from experiments.common import interruption, processes
from experiments.common.errors import UserError, shown
from experiments.common.processes import CRASHED, LEFT_ALONE

LONGEST_PATH = 4096
"""Bytes of a path that is told to all."""

CLUSTERS = {
    "SLURM": ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID"),
    "Kubernetes": ("KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX"),
}
"""The variables by which `jax.distributed` finds the processes of a cluster; of Kubernetes, those of a job
whose pods are numbered."""


class Place(NamedTuple):
    """Where the processes meet, how many they are, and which of them this is; all None in a cluster, whose
    variables say it.
    """

    coordinator: str | None
    processes: int | None
    number: int | None


def cluster(environ: Mapping[str, str]) -> str | None:
    """The cluster that these variables are of, if it started more than one process."""
    for name, variables in CLUSTERS.items():
        if all(variable in environ for variable in variables) and environ.get("SLURM_NTASKS") != "1":
            return name
    return None


def check(coordinator: str, count: int | None, number: int | None) -> None:
    """Raise `UserError` for --coordinator, --processes and --process-id by which no process meets another."""
    if not coordinator:
        if number is not None:
            raise UserError("--process-id needs --coordinator, where the processes meet.")
        return
    host, _, port = coordinator.rpartition(":")
    if not host or not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 2**16:
        raise UserError(f"--coordinator was {shown(coordinator)}; expected HOST:PORT of the first process.")
    if count is None or number is None:
        raise UserError("--coordinator needs --processes and --process-id too.")
    if number >= count:
        raise UserError(
            f"--process-id was {number}; expected less than the {count} of --processes, as they are counted "
            "from 0."
        )


def join(place: Place, devices: list[int] | None = None) -> None:
    """Meet the other processes, before any array is made; of this machine's accelerators have only some."""
    if place.number == 0 and place.coordinator is not None:
        processes.demand_port(int(place.coordinator.rpartition(":")[2]))
    try:
        jax.distributed.initialize(
            *place,
            local_device_ids=devices,
            cluster_detection_method=None if place.coordinator is None else "deactivate",
        )
        with _silence():  # of gloo, which says on standard output that it has connected
            together("the first collective")
    except (ValueError, RuntimeError) as error:
        where = place.coordinator or "in the cluster of the environment's variables"
        raise UserError(f"The processes did not meet at {where}: {_first_line(error)}.") from None
    interruption.handle()  # jax.distributed has taken SIGTERM


def is_first() -> bool:
    """Whether this process is the one that prints and writes."""
    return jax.process_index() == 0


def together(name: str) -> None:
    """Go on when all have come here: no one waits in a collective for one that still compiles."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def agreed(number: int) -> int:
    """The largest number that any process has."""
    if jax.process_count() == 1:
        return number
    return int(np.max(multihost_utils.process_allgather(np.int32(number))))


def told(path: Path | None) -> Path:
    """The path that the first process has, the others None."""
    if jax.process_count() == 1:
        assert path is not None
        return path
    text = b"" if path is None else os.fsencode(path.absolute())
    if len(text) > LONGEST_PATH:
        raise UserError(f"--out was {shown(str(path))}; expected a path of at most {LONGEST_PATH} bytes.")
    codes = np.zeros(LONGEST_PATH, np.int32)
    codes[: len(text)] = list(text)
    heard = bytes(int(code) for code in multihost_utils.broadcast_one_to_all(codes) if code)
    return Path(os.fsdecode(heard))


def ended(work: Callable[[], int]) -> int:
    """The exit code of a process's share of the work, when all have come to its end.

    After an error it ends at once: the others may not be waited for, who wait for this one.
    """
    try:
        code = work()
        jax.distributed.shutdown()
        return code
    except UserError as error:
        sentence, code = f"error: {error}", 2
    except jax.errors.JaxRuntimeError as error:
        sentence, code = f"error: a process was lost: {_first_line(error)}.", LEFT_ALONE
    except BaseException:
        sentence, code = traceback.format_exc(), CRASHED
    print(sentence, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@contextmanager
def _silence() -> Iterator[None]:
    """Standard output goes nowhere, also that of libraries in C++."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
