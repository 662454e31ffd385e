"""Compilation of programs that run a few times only: without the optimisations, which take most of it."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.trees import floats

PLAIN = {"xla_backend_optimization_level": 0}
CPU = PLAIN | {"xla_cpu_use_fusion_emitters": False, "xla_cpu_parallel_codegen_split_count": 1}
OTHER = CPU | {"xla_cpu_use_fusion_emitters": True}
"""Options of XLA; not every version has those of the last two."""


SMALL = 10_000
"""The most numbers in the arguments for which compiling takes longer than running without optimisation."""


def seldom(function: Callable[..., Any]) -> Callable[..., Any]:
    """`jax.jit` for what is called a few times: at small sizes it compiles three times as fast."""
    soon, optimized = soon_compiled(function), jax.jit(function)
    return lambda *args: (soon if is_small(args) else optimized)(*args)


def soon_compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`jax.jit` without optimisation, which runs slower."""
    return jax.jit(function, compiler_options=dict(_known()))


def otherwise_compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`jax.jit` by the other of two ways to generate code, where this version of XLA has two."""
    return jax.jit(function, compiler_options=dict(OTHER if _known() is CPU else {}))


def is_small(args: PyTree) -> bool:
    """Whether compiling takes longer than running."""
    return sum(np.size(x) for x in floats(args)) <= SMALL


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
