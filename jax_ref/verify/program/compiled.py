"""Compilation of programs that run a few times only: what takes most of the time of a check.

Without the optimisations it is up to ten times as fast, and XLA compiles without Python's lock, so that what
will be run can be compiled in other threads meanwhile.
"""

import contextlib
import functools
import os
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, wait
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.trees import dtype_of, floats

LEVEL = "xla_backend_optimization_level"
EMITTERS = "xla_cpu_use_fusion_emitters"
EXTRA = ({EMITTERS: False}, {"xla_cpu_parallel_codegen_split_count": 1})
"""Options of XLA for CPUs; not every version has each of them."""

SMALL = 10_000
"""The most numbers in the arguments for which compiling takes longer than running without optimisation."""


class Program:
    """A `jax.jit` of a function, which may be compiled ahead of its first call."""

    def __init__(self, function: Callable[..., Any], options: Mapping[str, Any] | None = None):
        self.jitted = jax.jit(function, compiler_options=dict(options) if options else None)
        self.compiling: dict[Any, Future[Any]] = {}
        self.seen: set[Any] = set()

    def __call__(self, *args: PyTree) -> Any:
        """The function's result; what is being compiled for such arguments is waited for."""
        if self.compiling:
            future = self.compiling.pop(_signature(args), None)
            if future:
                wait([future])
        return self.jitted(*args)

    def ahead(self, workers: Executor, *args: PyTree) -> None:
        """Trace it for such arguments, or for their shapes, and let one of the workers compile it.

        What the user's code raises is raised again where it is called, and told there.
        """
        signature = _signature(args)
        if signature in self.seen:
            return
        self.seen.add(signature)
        with contextlib.suppress(Exception):
            self.compiling[signature] = workers.submit(self.jitted.lower(*args).compile)

    def is_new(self, *args: PyTree) -> bool:
        """Whether it was not compiled ahead for such arguments."""
        return _signature(args) not in self.seen


class Seldom:
    """A program that is called a few times: soon compiled, and at small sizes not optimized at all."""

    def __init__(self, function: Callable[..., Any]):
        self.plain, self.less = (Program(function, options) for options in _known())

    def __call__(self, *args: PyTree) -> Any:
        """The function's result."""
        return self.at(args)(*args)

    def ahead(self, workers: Executor, *args: PyTree) -> None:
        """The same of the one that such arguments are given to."""
        self.at(args).ahead(workers, *args)

    def at(self, args: PyTree) -> Program:
        """The one that is the sooner done."""
        return self.plain if is_small(args) else self.less


def otherwise(function: Callable[..., Any]) -> Program:
    """The program with all optimisations, by the other of two ways to generate code where XLA has two."""
    return Program(function, _all())


def is_small(args: PyTree) -> bool:
    """Whether compiling takes longer than running."""
    return sum(np.size(x) for x in floats(args)) <= SMALL


def _signature(args: PyTree) -> Any:
    """What a jitted function is compiled anew for."""
    leaves, tree = jax.tree.flatten(args)
    return tree, jax.config.read("jax_enable_x64"), tuple((np.shape(x), dtype_of(x)) for x in leaves)


@functools.cache
def _known() -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Options without optimisation, and with what little makes a program as fast as any.

    Such compile in less than half the time of all optimisations. A level that XLA_FLAGS names stays.
    """
    if jax.default_backend() != "cpu":
        return _accepted({LEVEL: 0}), {}
    extra = _accepted(*EXTRA)
    named = LEVEL in os.environ.get("XLA_FLAGS", "")
    return _accepted({LEVEL: 0}) | extra, (extra if named else _accepted({LEVEL: 1}) | extra)


@functools.cache
def _all() -> Mapping[str, Any]:
    """Options with all optimisations, whatever XLA_FLAGS names."""
    return _accepted({LEVEL: 3}, {EMITTERS: True})


def _accepted(*several: dict[str, Any]) -> dict[str, Any]:
    """Those of the options that this version of XLA knows."""
    known: dict[str, Any] = {}
    for options in several:
        # the error for an unknown option is another in each version
        with contextlib.suppress(Exception):
            jax.jit(lambda x: x, compiler_options=options).lower(0.0).compile()
            known |= options
    return known
