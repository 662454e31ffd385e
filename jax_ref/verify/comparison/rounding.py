"""Stochastic arithmetic: how far rounding on the way carries a gradient.

The steps of the oracle, of the reference and of its derivative, are each multiplied by 1 + s r with r uniform
in [-1, 1]. The size s is far above the rounding of float64, or of the dtype that the reference has inside, so
that what comes of it can be measured, and what rounding does is as much smaller, or larger, as its unit is.
This estimates cancellations, which no bound from the sizes of the arguments knows. (Vignes 1993, Mathematics
and Computers in Simulation 35, 233-261.)
"""

import functools
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.comparison.compare import Compared, Key, by_key
from jax_ref.verify.comparison.reference import Reference
from jax_ref.verify.oracle import wide, x64_for
from jax_ref.verify.points.point import Point
from jax_ref.verify.program.compiled import Seldom
from jax_ref.verify.program.steps import Step, opened, run
from jax_ref.verify.trees import floats, is_floating, is_floating_dtype, widened

SIZE = 30 / 52
"""The power of the machine epsilon that the errors have: 2^-30 in float64."""

TRIES = 3

MARGIN = 4
"""How many times what was measured is allowed: another program rounds elsewhere."""

ONCE = 2
"""The same for a program that rounds the result of each step once, and accumulates in more digits."""

_EXACT = """
    abs argmax argmin broadcast_in_dim concatenate convert_element_type copy copy_p cummax cummin
    dynamic_slice dynamic_update_slice expand_dims gather max min neg pad reduce_max reduce_min
    reduce_window_max reshape rev scatter select_and_gather_add select_n sign slice sort squeeze
    stop_gradient transpose
"""
EXACT = frozenset(_EXACT.split())
"""Primitives that do not round; an error in them would break ties."""


class Errors:
    """The leaves of the oracle at a point with errors in its steps, a few draws of them, each run once."""

    def __init__(self, reference: Reference, point: Point, rng: np.random.Generator):
        self.reference, self.point, self.rng = reference, point, rng
        self.in_own_dtypes = functools.cache(self._in_own_dtypes)

    def ahead(self, workers: Executor) -> None:
        """Let the workers compile what is run for `allowed_for`."""
        if self.draws_others:
            return
        given, seed = (self.point.args, self.point.d_output), np.int64(0)
        if self.narrow:
            with x64_for(given):
                _with_own_errors(self.reference).ahead(workers, *given, MARGIN / 2, seed)
        else:
            with wide():
                _with_errors(self.reference).ahead(workers, *widened(given), self.size, seed)

    @property
    def draws_others(self) -> bool:
        """Whether the reference draws random numbers that are others in float64."""
        return self.narrow and self.reference.resolution.own

    @property
    def narrow(self) -> bool:
        """Whether something of the point has fewer digits than float64."""
        return any(leaf.dtype != np.float64 for leaf in floats((self.point.args, self.point.d_output)))

    @functools.cached_property
    def in_float64(self) -> list[dict[Key, Any]]:
        """With errors of one size in float64."""
        with wide():
            args, d_output = widened((self.point.args, self.point.d_output))
            run = _with_errors(self.reference)
            return [by_key(run(args, d_output, self.size, seed)) for seed in self._seeds()]

    @property
    def size(self) -> float:
        """That of the errors in float64."""
        return self.reference.resolution.eps**SIZE

    def _in_own_dtypes(self, units: float) -> list[dict[Key, Any]]:
        """With errors of so many units of each step's own dtype."""
        with x64_for((self.point.args, self.point.d_output)):
            run = _with_own_errors(self.reference)
            return [by_key(run(self.point.args, self.point.d_output, units, seed)) for seed in self._seeds()]

    def _seeds(self) -> np.ndarray:
        return self.rng.integers(2**31, size=TRIES)


def allowed_for(errors: Errors, found: dict[Key, Compared], margin: float = MARGIN) -> dict[Key, Compared]:
    """What was found, with bounds widened by what rounding may do at the point of the errors.

    With errors, a reference that draws random numbers in float64 would draw others: there nothing is allowed.
    """
    if errors.draws_others:
        return found
    measure = _in_own_dtypes if errors.narrow else _in_float64
    try:
        far = measure(errors, found, margin)
    except Exception:  # a program with parts that cannot be run one by one
        return found
    return {
        key: replace(c, bound=c.bound + far[key]) if np.isfinite(far.get(key, np.nan)) else c
        for key, c in found.items()
    }


def _in_float64(errors: Errors, found: dict[Key, Compared], margin: float) -> dict[Key, float]:
    """As much of how far each leaf strayed as rounding is smaller than the errors."""
    return {
        key: margin * max(c.away(s[key]) for s in errors.in_float64) * _unit(c) / 2 / errors.size
        for key, c in found.items()
        if is_floating_dtype(c.dtype)
    }


def _unit(c: Compared) -> float:
    return float(jnp.finfo(c.dtype).eps)


def _in_own_dtypes(errors: Errors, found: dict[Key, Compared], margin: float) -> dict[Key, float]:
    """How far each leaf strays with errors as large as the rounding of each step's own dtype, times `margin`.

    So what a step has in more digits than the leaf, or in fewer, has its own rounding.
    """
    strayed = errors.in_own_dtypes(margin / 2)
    return {key: max(c.away(s[key]) for s in strayed) for key, c in found.items()}


@functools.lru_cache(maxsize=32)
def _with_errors(reference: Reference) -> Any:
    def with_errors(args: tuple[PyTree, ...], d_output: PyTree, size: jax.Array, seed: jax.Array) -> Any:
        plain = opened(reference.differentiated, args, d_output)
        sizes = [v.aval.size for step in plain.steps if _rounds(step) for v in step.equation.outvars]
        errors = 1 + size * _uniform(seed, sum(sizes)).astype(jnp.float64)
        starts = iter(np.cumsum([0, *sizes]).tolist())

        def rounded(step: Step, inputs: list[Any], outputs: list[Any]) -> list[Any]:
            return [_off(x, errors, next(starts)) for x in outputs] if _rounds(step) else outputs

        return run(plain, jax.tree.leaves((args, d_output)), rounded)

    return Seldom(with_errors)


@functools.lru_cache(maxsize=32)
def _with_own_errors(reference: Reference) -> Any:
    def with_errors(args: tuple[PyTree, ...], d_output: PyTree, units: jax.Array, seed: jax.Array) -> Any:
        plain = opened(reference.differentiated, args, d_output)
        rounds = [step for step in plain.steps if _rounds(step) or _shortens(step)]
        sizes = [v.aval.size for step in rounds for v in step.equation.outvars]
        errors = units * _uniform(seed, sum(sizes))
        starts = iter(np.cumsum([0, *sizes]).tolist())

        def off(x: Any, start: int) -> Any:
            if not is_floating(x):
                return x
            unit = float(jnp.finfo(x.dtype).eps) * errors[start : start + x.size].reshape(x.shape)
            return x + x * unit.astype(x.dtype)

        def rounded(step: Step, inputs: list[Any], outputs: list[Any]) -> list[Any]:
            with_errors = _rounds(step) or _shortens(step)
            return [off(x, next(starts)) for x in outputs] if with_errors else outputs

        return run(plain, jax.tree.leaves((args, d_output)), rounded)

    return Seldom(with_errors)


def _uniform(seed: jax.Array, count: int) -> jax.Array:
    """Errors for all of the steps at once: a random number generator for each would be compiled far longer.

    Of the backend's own generator, which takes a quarter of the time of JAX's, by far the most of a run.
    """
    return jax.random.uniform(jax.random.key(seed, impl="rbg"), (count,), jnp.float32, -1, 1)


def _shortens(step: Step) -> bool:
    """Whether a step rounds a floating input to fewer digits."""
    if step.name != "convert_element_type":
        return False
    given, made = step.equation.invars[0].aval.dtype, step.equation.outvars[0].aval.dtype
    floating = is_floating_dtype(given) and is_floating_dtype(made)
    return floating and float(jnp.finfo(made).eps) > float(jnp.finfo(given).eps)


def _rounds(step: Step) -> bool:
    return step.name not in EXACT


def _off(x: Any, errors: jax.Array, start: int) -> Any:
    """An output times its errors, which begin at `start`."""
    if not is_floating(x):
        return x
    return x * errors[start : start + x.size].reshape(x.shape).astype(x.dtype)
