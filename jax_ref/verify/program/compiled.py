"""Compilation of programs that run a few times only: without the optimisations, which take most of it."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax

PLAIN = {"xla_backend_optimization_level": 0}
CPU = PLAIN | {"xla_cpu_use_fusion_emitters": False, "xla_cpu_parallel_codegen_split_count": 1}
"""Options of XLA; not every version has those of the second."""


def seldom(function: Callable[..., Any]) -> Callable[..., Any]:
    """`jax.jit` for what is called a few times: it compiles three times as fast and runs slower."""
    return jax.jit(function, compiler_options=dict(_known()))


@functools.cache
def _known() -> Mapping[str, Any]:
    """The first of the options that this version of XLA knows."""
    for options in (CPU, PLAIN) if jax.default_backend() == "cpu" else (PLAIN,):
        try:
            jax.jit(lambda x: x, compiler_options=dict(options))(0.0)
        except Exception:  # the error for an unknown option is another in each version
            continue
        return options
    return {}
