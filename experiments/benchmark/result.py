"""What was measured of a row against one opponent."""

from typing import Any, NamedTuple

from experiments.benchmark.overhead import Overhead


class Result(NamedTuple):
    """One row: `ms` and those of PyTorch per forward and backward pass, or per step of training.

    `memory_ratio` is `None` where the opponent needs no memory and the hand-written side does,
    `matmul_share` where there is no matrix product, `overhead` where the opponent is another than `jax.grad`.
    PyTorch, eager and compiled, is timed by itself, and so is the hand-written side beside it, in `alone_ms`;
    these are `None` without PyTorch, and `torch_compiled_ms` where that is not asked.
    """

    name: str
    size: str
    opponent: str
    time_ratio: float
    memory_ratio: float | None
    ms: float
    opponent_ms: float
    temp_bytes: int
    opponent_temp_bytes: int
    compile_s: float
    matmul_share: float | None
    alone_ms: float | None
    torch_ms: float | None
    torch_compiled_ms: float | None
    overhead: Overhead | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields by their names, those of the overhead among them."""
        fields = self._asdict()
        beside = fields.pop("overhead")
        return fields | (dict.fromkeys(Overhead._fields) if beside is None else beside._asdict())
