"""Wall-clock time of compiled calls, side by side, and the matrix-multiply peak of this machine.

Other work on the machine slows whatever runs at that moment. So contestants take turns: a round
times a block of calls of each, in an order that turns round from one round to the next. The ratio
of two is the median of their ratios within each round, as what slows a round slows both: on a busy
machine, between two copies of one program, it strayed about half as far from 1 as the ratio of the
two medians did. So it need not be quite the quotient of the medians that are printed beside it.

Each call writes its output over that of the call before, as a training loop that donates its params
does. A new array is paid for by whoever asks first for its pages, and whether the allocator kept them
from the call before is chance, so that one program took 5 ms in one process and 19 ms in another.
Temporary memory is part of a program, and is paid for as it comes.
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


def take_turns_building(
    functions: Sequence[Callable[..., Any]], args: tuple[Any, ...], rounds: int
) -> np.ndarray:
    """Seconds that it takes to trace each function, and to lower and compile it: (rounds, functions, 2)."""
    turns = list(enumerate(functions))
    seconds = np.zeros((rounds, len(functions), 2))
    for number in range(rounds):
        for i, function in turns if number % 2 == 0 else reversed(turns):
            seconds[number, i] = build(function, args)
    return seconds


def build(function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[float, float]:
    """Seconds to trace a function, and to lower and compile it, as in a process that has done neither before.

    JAX keeps what it has traced of its own functions, too, and would trace the next function that uses them
    in less time: all caches are emptied.
    """
    jax.clear_caches()
    start = time.perf_counter()
    traced = jax.jit(lambda *args: function(*args)).trace(*args)
    middle = time.perf_counter()
    traced.lower().compile()
    return middle - start, time.perf_counter() - middle


def matmul_peak(rounds: int) -> float:
    """Floating point operations per second of the fastest square product in float32."""
    best = 0.0
    for n in PEAK_SIZES:
        a = jnp.ones((n, n), jnp.float32)
        product = Contestant(jnp.matmul, (a, a))
        product()
        fastest = min(_block(product, 1) for _ in range(rounds))
        best = max(best, 2 * n**3 / fastest)
    return best


class Contestant:
    """A function compiled for its arguments, to be called again and again; `output` is its last one.

    `compile_s` are the seconds it took to trace, lower and compile it, `temp_bytes` its temporary
    memory, beside its arguments and its output.
    """

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]):
        def over(output: Any, *args: Any) -> Any:
            return function(*args)

        self.args = args
        self.output = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(function, *args))
        start = time.perf_counter()
        lowered = jax.jit(over, donate_argnums=0, keep_unused=True).lower(self.output, *args)
        self.program: Any = lowered.compile()
        self.compile_s = time.perf_counter() - start
        self.temp_bytes = int(self.program.memory_analysis().temp_size_in_bytes)

    def __call__(self) -> Any:
        """The output, in the place of the one before, which is gone."""
        self.output = self.program(self.output, *self.args)
        return self.output


def _calls_per_block(call: Call) -> int:
    """How many calls take `BLOCK` seconds; the first call warms up and is not counted."""
    _block(call, 1)
    count = 1
    while (seconds := _block(call, count)) < BLOCK:
        count = max(2 * count, int(count * BLOCK / max(seconds, 1e-9)))
    return count


def _block(call: Call, count: int) -> float:
    """Seconds of `count` calls, each waited for."""
    start = time.perf_counter()
    for _ in range(count):
        jax.block_until_ready(call())
    return time.perf_counter() - start
