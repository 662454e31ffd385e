"""The process that measures: `python -m experiments.parallel_benchmark.worker SETTINGS` prints JSON."""

import json
import sys
from typing import Any

import jax
import jax.numpy as jnp

from experiments.common import processes
from experiments.parallel_benchmark.row import Compiled
from experiments.parallel_benchmark.rows import ROWS


def measured(name: str, seed: int, small: bool, rounds: int) -> dict[str, Any]:
    """A row: its sides held against one device, and what they send, keep and take."""
    row = Compiled(ROWS[name](jnp.float64, seed, True))
    error = row.error()
    if not small:
        row = Compiled(ROWS[name](jnp.float32, seed, False))
    return {"row": name, "error": error, "tolerance": row.row.tolerance, **row.figures(rounds)}


def main(settings: str) -> None:
    """Measure the rows of the settings, and print the figures."""
    processes.end_with_the_launcher()
    jax.config.update("jax_enable_x64", True)
    given = json.loads(settings)
    found = [measured(name, given["seed"], given["small"], given["rounds"]) for name in given["rows"]]
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
