"""Time without jit, of tracing and of compilation, hand-written / `jax.grad`.

A program that runs for long hides all three. They are what is waited for where one is written and tried: at
each call that is not jitted, and before the first one that is. A backward pass that is there need not be
made: there is nothing to linearise or to transpose.
"""

from functools import partial
from typing import NamedTuple

import numpy as np

from experiments.benchmark.rows.row import Row
from experiments.common import timing

AGAINST = "jax.grad"
"""The opponent that every row has."""

BUILDS = 5
"""Times that each side is traced and compiled, at most: that takes long, and strays little."""


class Overhead(NamedTuple):
    """Milliseconds of each side, and the ratio: without jit, to trace, and to lower and compile."""

    eager_ratio: float
    eager_ms: float
    opponent_eager_ms: float
    trace_ratio: float
    trace_ms: float
    opponent_trace_ms: float
    compile_ratio: float
    compile_ms: float
    opponent_compile_ms: float


def measure(row: Row, rounds: int) -> Overhead:
    """Both sides of a row taking turns, of a model with one step."""
    args, by_hand, by_grad = row.alone or (row.args, row.by_hand, row.opponents[AGAINST])
    eager = timing.take_turns([partial(by_hand, *args), partial(by_grad, *args)], rounds)
    built = timing.take_turns_building([by_hand, by_grad], args, min(rounds, BUILDS))
    return Overhead(*_compared(eager), *_compared(built[..., 0]), *_compared(built[..., 1]))


def _compared(seconds: np.ndarray) -> tuple[float, float, float]:
    """The ratio, and the milliseconds of each side, of seconds (rounds, sides)."""
    ours, theirs = np.median(1e3 * seconds, axis=0).tolist()
    return float(np.median(seconds[:, 0] / seconds[:, 1])), ours, theirs
