"""The strictest JAX there is: float64, no implicit promotion of dtypes or ranks, typed shapes; scheduling.

Most of the time goes into compiling, so code is not optimised beyond XLA's own passes, it is generated in
the shorter of two ways and in one piece, and compiled programs are kept for the next run. `XLA_FLAGS= pytest`
tests the code as users run it. For the same reason programs carry no lines of source, and garbage, of which
tracing makes little, is looked for rarely.
"""

import gc
import importlib.metadata
import os
import re
from pathlib import Path

FLAGS = ["--xla_backend_optimization_level=0", "--xla_cpu_parallel_codegen_split_count=1"]
if tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2])) < (0, 12):  # later ones have one way
    FLAGS.append("--xla_cpu_use_fusion_emitters=false")

os.environ.setdefault("XLA_FLAGS", " ".join(FLAGS))
worker = os.environ.get("PYTEST_XDIST_WORKER", "alone")  # no two processes write to one folder
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(__file__).parents[1] / ".cache" / worker)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

import hypothesis
import jax
import pytest
from jaxtyping import install_import_hook
from xdist.scheduler import LoadScopeScheduling

gc.set_threshold(100_000, 50, 100)
jax.config.update("jax_traceback_in_locations_limit", 0)
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

install_import_hook(
    ["manual_bp.ops", "manual_bp.models", "jax_ref.ops", "jax_ref.models"], "beartype.beartype"
)

hypothesis.settings.register_profile("default", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("default")


OURS = Path(__file__).parents[1] / "manual_bp"
OPS = {path.stem for folder in ("ops", "models") for path in (OURS / folder).iterdir()}


def shared(nodeid: str) -> str:
    """What a test shares with others that takes long to compile: a file, a folder of notes, or an op.

    The op is `dense` of `tests/ops/test_gradients.py::test_in_float64[dense-bias-1]`.
    """
    file, _, test = nodeid.partition("::")
    if file.startswith("tests/textbook/"):
        return file.rpartition("/")[0]
    op = re.search(r"\[(\w+)", test) if file.startswith("tests/ops/") else None
    return op[1] if op and op[1] in OPS else file


class Together(LoadScopeScheduling):
    """Tests that share what takes long to compile run in one process."""

    def _split_scope(self, nodeid: str) -> str:
        return shared(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return Together(config, log) if config.option.dist == "load" else None


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """Let go of what is shared no more: thousands of programs take gigabytes."""
    if nextitem is None or shared(item.nodeid) != shared(nextitem.nodeid):
        jax.clear_caches()
