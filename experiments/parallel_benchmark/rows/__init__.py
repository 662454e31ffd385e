"""The rows by name."""

from experiments.parallel_benchmark.row import Make
from experiments.parallel_benchmark.rows import fsdp, int8, pipeline, private, ring, tensor

DEVICES = 4
"""The most that a row needs."""

ROWS: dict[str, Make] = {
    "tensor": tensor.make,
    "ring": ring.make,
    "fsdp": fsdp.make,
    "fsdp.recompute": fsdp.make_recomputing,
    "fsdp.many_tokens": fsdp.make_of_many_tokens,
    "fsdp.small_layers": fsdp.make_of_small_layers,
    "pipeline": pipeline.make,
    "pipeline.recompute": pipeline.make_recomputing,
    "int8": int8.make,
    "private": private.make,
}
