"""Stochastic arithmetic: how far rounding on the way carries a gradient.

The steps of the oracle, of the reference and of its derivative, are each multiplied by 1 + s r with r uniform
in [-1, 1]. The size s is far above the rounding of float64, or of the dtype that the reference has inside, so
that what comes of it can be measured, and what rounding does is as much smaller, or larger, as its unit is.
This estimates cancellations, which no bound from the sizes of the arguments knows. (Vignes 1993, Mathematics
and Computers in Simulation 35, 233-261.)
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.comparison.compare import Compared, Key, by_key
from jax_ref.verify.comparison.reference import Reference
from jax_ref.verify.oracle import wide, x64_for
from jax_ref.verify.points.point import Point
from jax_ref.verify.program.compiled import seldom
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


def allowed_for(
    reference: Reference,
    point: Point,
    rng: np.random.Generator,
    found: dict[Key, Compared],
    margin: float = MARGIN,
) -> dict[Key, Compared]:
    """What was found, with bounds widened by what rounding may do at this point.

    With errors, a reference that draws random numbers in float64 would draw others: there nothing is allowed.
    """
    if reference.resolution.own:
        return found
    narrow = any(leaf.dtype != np.float64 for leaf in floats((point.args, point.d_output)))
    measure = _in_own_dtypes if narrow else _in_float64
    try:
        far = measure(reference, point, rng, found, margin)
    except Exception:  # a program with parts that cannot be run one by one
        return found
    return {
        key: c._replace(bound=c.bound + far[key]) if np.isfinite(far.get(key, np.nan)) else c
        for key, c in found.items()
    }


def _in_float64(
    reference: Reference, point: Point, rng: np.random.Generator, found: dict[Key, Compared], margin: float
) -> dict[Key, float]:
    """As much of how far each leaf strayed as rounding is smaller than the errors."""
    step = reference.resolution.eps**SIZE
    strayed = _strayed(reference, point, rng, step, found)
    return {
        key: margin * strayed[key] * float(jnp.finfo(c.dtype).eps) / 2 / step
        for key, c in found.items()
        if is_floating_dtype(c.dtype)
    }


def _in_own_dtypes(
    reference: Reference, point: Point, rng: np.random.Generator, found: dict[Key, Compared], margin: float
) -> dict[Key, float]:
    """How far each leaf strays with errors as large as the rounding of each step's own dtype, times `margin`.

    So what a step has in more digits than the leaf, or in fewer, has its own rounding.
    """
    with x64_for((point.args, point.d_output)):
        seeds = rng.integers(2**31, size=TRIES)
        strayed = [
            by_key(_with_own_errors(reference)(point.args, point.d_output, margin / 2, seed))
            for seed in seeds
        ]
    return {key: max(c.away(s[key]) for s in strayed) for key, c in found.items()}


def _strayed(
    reference: Reference, point: Point, rng: np.random.Generator, step: float, found: dict[Key, Compared]
) -> dict[Key, float]:
    """How far each leaf strays in float64 with errors of `step`, at the most of a few draws of them."""
    with wide():
        args, d_output = widened((point.args, point.d_output))
        seeds = rng.integers(2**31, size=TRIES)
        strayed = [by_key(_with_errors(reference)(args, d_output, step, seed)) for seed in seeds]
    return {key: max(c.away(s[key]) for s in strayed) for key, c in found.items()}


@functools.lru_cache(maxsize=32)
def _with_errors(reference: Reference) -> Any:
    def with_errors(args: tuple[PyTree, ...], d_output: PyTree, size: jax.Array, seed: jax.Array) -> Any:
        plain = opened(reference.differentiated, args, d_output)
        sizes = [v.aval.size for step in plain.steps if _rounds(step) for v in step.equation.outvars]
        # all at once: to compile a random number generator for every step takes far longer than the rest
        errors = 1 + size * jax.random.uniform(jax.random.key(seed), (sum(sizes),), jnp.float64, -1, 1)
        starts = iter(np.cumsum([0, *sizes]).tolist())

        def rounded(step: Step, inputs: list[Any], outputs: list[Any]) -> list[Any]:
            return [_off(x, errors, next(starts)) for x in outputs] if _rounds(step) else outputs

        return run(plain, jax.tree.leaves((args, d_output)), rounded)

    return seldom(with_errors)


@functools.lru_cache(maxsize=32)
def _with_own_errors(reference: Reference) -> Any:
    def with_errors(args: tuple[PyTree, ...], d_output: PyTree, units: jax.Array, seed: jax.Array) -> Any:
        plain = opened(reference.differentiated, args, d_output)
        rounds = [step for step in plain.steps if _rounds(step) or _shortens(step)]
        sizes = [v.aval.size for step in rounds for v in step.equation.outvars]
        errors = units * jax.random.uniform(jax.random.key(seed), (sum(sizes),), jnp.float32, -1, 1)
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

    return seldom(with_errors)


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
