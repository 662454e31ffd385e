"""Hand-written backward passes against the best of what a JAX user would write.

    python -m experiments.benchmark [--filter NAME] [--json FILE] [--rounds N]

Each row times the forward and the backward pass of both sides, jitted, in float32, taking turns in
one process and writing their outputs to memory that is there. Ratios are hand-written / opponent: below 1
the hand-written side is faster or smaller. A second table has the time without jit, of tracing and of
compilation, against `jax.grad`.
Before a row is timed, both sides must give the same numbers, where a rounding may change a gradient at a kink
those of float64. `rows` says what they compute,
`experiments.common.timing` how they are timed, `table` how it is shown.
"""

import difflib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.progress import track

from experiments.benchmark import overhead, pytorch, rows, table
from experiments.benchmark.result import Result
from experiments.benchmark.rows.row import Function, Row
from experiments.common import command_line, run_folder, timing
from experiments.common.errors import UserError, shown
from experiments.common.options import Count
from jax_ref.verify import oracle, tolerance

AGREEMENT = {np.dtype(np.float32): 1e-4, np.dtype(np.float64): 1e-10}
"""Largest relative distance of two leaves: rounding, grown through a hundred steps."""


@dataclass(frozen=True)
class Options:
    """Time hand-written backward passes against the best of what a JAX user would write."""

    filter: str = ""
    """Only rows whose name contains this."""
    json: Path | None = None
    """File to write the rows to."""
    rounds: Count = 21
    """Turns that each side takes; more are slower and steadier."""


def main(args: Sequence[str] | None = None) -> None:
    """Run the benchmark that the command line asks for."""
    options = command_line.parse(
        Options,
        prog="python -m experiments.benchmark",
        description="Time hand-written backward passes against the best of what a JAX user would write.",
        examples=("", "--filter activations.gelu --rounds 51", "--filter mlp --json rows.json"),
        args=args,
    )
    chosen = select(options.filter, rows.rows())
    if options.json is not None:
        check_writable(options.json)
    peak = timing.matmul_peak(options.rounds)
    results, wrong = [], []
    progress = Console(stderr=True)
    for name, make in track(chosen.items(), "timing", console=progress, transient=True):
        row = make()
        if row.matmul_flops is not None:  # again, as other work may have slowed it the first time
            peak = max(peak, timing.matmul_peak(options.rounds))
        try:
            found = measure(name, row, options.rounds, peak)
        except ArithmeticError as error:  # said when the other rows are done
            wrong.append(str(error))
            continue
        beside = overhead.measure(row, options.rounds)
        for result in found:
            against_grad = result.opponent == overhead.AGAINST
            results.append(result._replace(overhead=beside if against_grad else None))
    table.show(results, peak)
    if options.json is not None:
        run_folder.write_json(options.json, [result.to_json() for result in results])
    if wrong:
        raise ArithmeticError("; ".join(wrong))


def select(text: str, rows: dict[str, Any]) -> dict[str, Any]:
    """The rows whose name contains `text`; where there is none, a `UserError` names the nearest."""
    chosen = {name: row for name, row in rows.items() if text in name}
    if not chosen:
        near = difflib.get_close_matches(text, rows, n=1, cutoff=0)[0]
        raise UserError(f"--filter {shown(repr(text))} matches no row; the nearest is {near!r}.")
    return chosen


def measure(name: str, row: Row, rounds: int, peak: float) -> list[Result]:
    """Check a row and time it: one result for each opponent."""
    functions = [row.by_hand, *row.opponents.values()]
    contestants = [timing.Contestant(f, row.args) for f in functions]
    by_hand, *others = in_float64(functions, row.args) if row.has_kinks else [call() for call in contestants]
    for opponent, output in zip(row.opponents, others, strict=True):
        check_agreement(name, opponent, by_hand, output)
    torch_calls = pytorch.calls(name, row)
    for how, call in torch_calls.items():
        check_agreement(name, f"PyTorch, {how}", by_hand, call())
    del by_hand, others

    step_ms = 1e3 / row.steps * timing.take_turns(contestants, rounds)
    ms, *opponent_ms = np.median(step_ms, axis=0).tolist()
    _, *ratios = np.median(step_ms[:, :1] / step_ms, axis=0).tolist()
    alone = {"ours": contestants[0], **torch_calls} if torch_calls else {}
    alone_ms = {  # not in turns, as idle threads of PyTorch spin and slow what runs next
        whose: 1e3 / row.steps * float(np.median(timing.take_turns([call], rounds)))
        for whose, call in alone.items()
    }
    temp, *opponent_temp = [contestant.temp_bytes for contestant in contestants]
    return [
        Result(
            name=name,
            size=row.size,
            opponent=opponent,
            time_ratio=ratios[i],
            memory_ratio=ratio_of_bytes(temp, opponent_temp[i]),
            ms=ms,
            opponent_ms=opponent_ms[i],
            temp_bytes=temp,
            opponent_temp_bytes=opponent_temp[i],
            compile_s=contestants[0].compile_s,
            matmul_share=row.matmul_flops and row.matmul_flops / (ms / 1e3) / peak,
            alone_ms=alone_ms.get("ours"),
            torch_ms=alone_ms.get("eager"),
            torch_compiled_ms=alone_ms.get("compiled"),
        )
        for i, opponent in enumerate(row.opponents)
    ]


def in_float64(functions: Sequence[Function], args: tuple[Any, ...]) -> list[Any]:
    """The output of each function for the same arguments in float64."""
    with oracle.wide():
        wide = oracle.cast(args, np.float64)
        return [jax.jit(function)(*wide) for function in functions]


def check_agreement(name: str, opponent: str, ours: Any, theirs: Any) -> None:
    """Raise `ArithmeticError` unless both sides give the same numbers, to rounding."""
    leaves, expected = jax.tree.leaves(ours), jax.tree.leaves(theirs)
    if [leaf.shape for leaf in leaves] != [leaf.shape for leaf in expected]:
        raise ArithmeticError(f"{name}: {opponent} has outputs of other shapes")
    for a, e in zip(leaves, expected, strict=True):
        off = tolerance.distance(a, e)
        if not off <= AGREEMENT[a.dtype] * tolerance.size(e):
            raise ArithmeticError(
                f"{name}: the hand-written side is {off:.3g} from {opponent}, whose norm is "
                f"{tolerance.size(e):.3g}"
            )


def ratio_of_bytes(ours: int, theirs: int) -> float | None:
    """`ours / theirs`: 1 where both are nothing, `None` where only theirs are."""
    if theirs == 0:
        return 1.0 if ours == 0 else None
    return ours / theirs


def check_writable(path: Path) -> None:
    """Raise `UserError` unless a file can be written at `path`."""
    if path.exists() and not path.is_file():
        raise UserError(f"--json {path}: not a file.")
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise UserError(f"--json {path}: cannot write there ({error.strerror}).") from error
