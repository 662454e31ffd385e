"""How long compiled calls take, side by side, and how fast this machine multiplies matrices.

Other work on the machine slows whatever runs at that moment. So contestants take turns: a round
times a block of calls of each, in an order that turns round from one round to the next. The ratio
of two is the median of their ratios within each round, as what slows a round slows both: on a busy
machine, between two copies of one program, it strayed about half as far from 1 as the ratio of the
two medians did. So it need not be quite the quotient of the medians that are printed beside it.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

BLOCK = 0.02
"""Seconds that a block of calls takes at least, far above the resolution of the clock."""

PEAK_SIZES = (512, 1024, 2048)
"""Sizes of the square matrices that the peak is measured on."""

Call = Callable[[], Any]


def take_turns(calls: Sequence[Call], rounds: int) -> np.ndarray:
    """Seconds that one call takes: (rounds, calls)."""
    counts = [_calls_per_block(call) for call in calls]
    turns = list(enumerate(zip(calls, counts, strict=True)))
    seconds = np.zeros((rounds, len(calls)))
    for number in range(rounds):
        for i, (call, count) in turns if number % 2 == 0 else reversed(turns):
            seconds[number, i] = _block(call, count) / count
    return seconds


def matmul_peak(rounds: int) -> float:
    """Floating point operations per second of the fastest square product in float32."""
    best = 0.0
    for n in PEAK_SIZES:
        a = jnp.ones((n, n), jnp.float32)
        product, _ = compiled(jnp.matmul, (a, a))
        product(a, a)
        fastest = min(_block(lambda f=product, a=a: f(a, a), 1) for _ in range(rounds))
        best = max(best, 2 * n**3 / fastest)
    return best


def compiled(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, float]:
    """`function` compiled for `args`, and the seconds it took to trace, lower and compile it."""
    start = time.perf_counter()
    program = jax.jit(function).lower(*args).compile()
    return program, time.perf_counter() - start


def temp_bytes(program: Any) -> int:
    """Bytes of temporary memory of a compiled program, beside its arguments and its output."""
    return int(program.memory_analysis().temp_size_in_bytes)


def _calls_per_block(call: Call) -> int:
    """How many calls take `BLOCK` seconds; the first call warms up and is not counted."""
    _block(call, 1)
    count = 1
    while (seconds := _block(call, count)) < BLOCK:
        count = max(2 * count, int(count * BLOCK / max(seconds, 1e-9)))
    return count


def _block(call: Call, count: int) -> float:
    """Seconds of `count` calls, each waited for, so that its output is freed before the next."""
    start = time.perf_counter()
    for _ in range(count):
        jax.block_until_ready(call())
    return time.perf_counter() - start
