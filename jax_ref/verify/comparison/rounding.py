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

from jax_ref.verify.comparison import tolerance
from jax_ref.verify.comparison.compare import Compared, Key, by_key
from jax_ref.verify.comparison.reference import Reference
from jax_ref.verify.comparison.resolution import coarser
from jax_ref.verify.oracle import wide
from jax_ref.verify.points.point import Point
from jax_ref.verify.program.compiled import seldom
from jax_ref.verify.program.steps import Step, opened, run
from jax_ref.verify.trees import is_floating, widened

SIZE = 30 / 52
"""The power of the machine epsilon that the errors have: 2^-30 in float64."""

TRIES = 3

MARGIN = 4
"""How many times what was measured is allowed: another program rounds elsewhere."""

_EXACT = """
    abs argmax argmin broadcast_in_dim concatenate convert_element_type copy copy_p cummax cummin
    dynamic_slice dynamic_update_slice expand_dims gather max min neg pad reduce_max reduce_min
    reduce_window_max reshape rev scatter select_and_gather_add select_n sign slice sort squeeze
    stop_gradient transpose
"""
EXACT = frozenset(_EXACT.split())
"""Primitives that do not round; an error in them would break ties."""


def allowed_for(
    reference: Reference, point: Point, rng: np.random.Generator, found: dict[Key, Compared]
) -> dict[Key, Compared]:
    """What was found, with bounds widened by what rounding may do at this point.

    With errors, a reference that draws random numbers in float64 would draw others: there nothing is allowed.
    """
    if reference.resolution.draws:
        return found
    step = reference.resolution.eps**SIZE
    try:
        strayed = [by_key(gradient) for gradient in _with_errors_at(reference, point, rng, step)]
    except Exception:  # a program with parts that cannot be run one by one
        return found
    dtypes = {
        key: coarser(x.dtype, reference.resolution.dtype)
        for key, x in by_key((point.d_output, reference.leaves(point.args))).items()
        if is_floating(x)
    }

    def leave(key: Key, c: Compared) -> float:
        """As much of how far the leaf strayed as rounding is smaller than the errors."""
        far = max(tolerance.distance(s[key], c.exact) for s in strayed)
        unit = float(jnp.finfo(dtypes[key]).eps) / 2
        return MARGIN * far * unit / step if np.isfinite(far) else 0.0

    return {
        key: c._replace(bound=c.bound + leave(key, c)) if key in dtypes else c for key, c in found.items()
    }


def _with_errors_at(reference: Reference, point: Point, rng: np.random.Generator, step: float) -> list[Any]:
    """The oracle with errors of `step`, for a few draws of them."""
    with wide():
        args, d_output = widened((point.args, point.d_output))
        seeds = rng.integers(2**31, size=TRIES)
        return [_with_errors(reference)(args, d_output, step, seed) for seed in seeds]


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


def _rounds(step: Step) -> bool:
    return step.name not in EXACT


def _off(x: Any, errors: jax.Array, start: int) -> Any:
    """An output times its errors, which begin at `start`."""
    if not is_floating(x):
        return x
    return x * errors[start : start + x.size].reshape(x.shape).astype(x.dtype)
