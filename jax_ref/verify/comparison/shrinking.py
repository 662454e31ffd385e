"""Errors that shrink with the machine epsilon, which are rounding: a mistake is as large in every dtype."""

import jax.numpy as jnp
import numpy as np

from jax_ref.verify.comparison.compare import Compared, Key, compare
from jax_ref.verify.comparison.sides import Sides
from jax_ref.verify.points.inputs import nearby
from jax_ref.verify.points.point import Point
from jax_ref.verify.trees import cast, floats

COARSER = {"float64": "float32", "float32": "bfloat16"}
"""The dtype in which an error is looked at again."""

SLACK = 128
"""How much larger an error may be than the ratio of the epsilons says: much less than that of two dtypes."""

POSSIBLE = 1e6
"""The most bounds that the error of an unstable formula is looked at as one of rounding."""


def rounded(
    sides: Sides, point: Point, rng: np.random.Generator, found: dict[Key, Compared]
) -> frozenset[Key]:
    """The leaves wrong at a point by an error that in a coarser dtype is as much larger as its epsilon is.

    That is looked at beside the point too, as it may be small at one place by chance.
    """
    doubtful = {key: c for key, c in found.items() if c.wrong and c.finite and c.error <= POSSIBLE * c.bound}
    finest = min((x.dtype for x in floats((point.args, point.d_output))), key=lambda d: jnp.finfo(d).eps)
    if not doubtful or str(finest) not in COARSER:
        return frozenset()
    dtype = COARSER[str(finest)]
    ratio = float(jnp.finfo(finest).eps / jnp.finfo(dtype).eps)
    args, d_output = cast((point.args, point.d_output), dtype)
    coarse = point._replace(args=args, d_output=d_output)
    try:
        several = [compare(sides, p) for p in (coarse, coarse._replace(args=nearby(args, rng)))]
    except Exception:  # of the user's code, which may be made for one dtype only
        return frozenset()
    return frozenset(
        key
        for key, c in doubtful.items()
        if all(key in each and np.isfinite(each[key].error) for each in several)
        and c.error <= SLACK * ratio * max(each[key].error for each in several)
    )
