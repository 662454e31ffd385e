"""The tables of the benchmark, in 100 columns: what running costs, and what comes before and beside it."""

from collections.abc import Sequence
from itertools import groupby

import jax
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.benchmark.result import Result

WIDTH = 100
"""Columns of the output where it is not a terminal."""


def show(results: Sequence[Result], peak: float) -> None:
    """Print both tables."""
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    console.print(_running(results))
    console.print(_beside(results, peak))


def _running(results: Sequence[Result]) -> Table:
    table = Table(
        title="hand-written / opponent, forward and backward, float32",
        caption="below 1 the hand-written side is faster or smaller; memory is temporary memory",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("row, and its opponents", overflow="fold")
    for column in ("time", "memory", "ms", "MB"):
        table.add_column(column, justify="right", no_wrap=True)
    for (name, size), several in groupby(results, lambda r: (r.name, r.size)):
        table.add_row(f"{name}  [dim]{size}[/]")
        of_row = list(several)
        for r in of_row:
            table.add_row(
                f"  {r.opponent}",
                f"{r.time_ratio:.3f}",
                f"{r.temp_bytes} B" if r.memory_ratio is None else f"{r.memory_ratio:.3f}",
                _two(r.ms, r.opponent_ms),
                f"{r.temp_bytes / 1e6:.2f} / {r.opponent_temp_bytes / 1e6:.2f}",
            )
        first = of_row[0]
        for how, theirs in {"eager": first.torch_ms, "compiled": first.torch_compiled_ms}.items():
            if theirs is not None and first.alone_ms is not None:  # each timed alone
                ratio = f"{first.alone_ms / theirs:.3f}"
                table.add_row(f"  PyTorch, {how}", ratio, "", _two(first.alone_ms, theirs), "")
    return table


def _beside(results: Sequence[Result], peak: float) -> Table:
    table = Table(
        title="hand-written / jax.grad: ratio and ms, of a model for one step",
        caption=f"matmul: share of the peak, {peak / 1e9:.0f} GFLOP/s; "
        f"jax {jax.__version__} on {jax.default_backend()}",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("row", overflow="fold")
    for column in ("without jit", "traced", "compiled", "matmul"):
        table.add_column(column, justify="right", no_wrap=True)
    for r in results:
        if (o := r.overhead) is not None:
            table.add_row(
                r.name,
                f"{o.eager_ratio:.2f} {_two(o.eager_ms, o.opponent_eager_ms):>9}",
                f"{o.trace_ratio:.2f} {_two(o.trace_ms, o.opponent_trace_ms):>9}",
                f"{o.compile_ratio:.2f} {_two(o.compile_ms, o.opponent_compile_ms):>9}",
                "" if r.matmul_share is None else f"{r.matmul_share:.2f}",
            )
    return table


def _two(ours: float, theirs: float) -> str:
    return f"{_digits(ours)}/{_digits(theirs)}"


def _digits(x: float) -> str:
    """Three digits, never as a power of ten."""
    return f"{x:.0f}" if x >= 100 else f"{x:#.3g}"
