"""Loss of precision: a cotangent that is off by the rounding of a narrower dtype.

Rounding is told from a small wrong term by perturbing the arguments by up to a unit in the last place of the
narrower dtype: that hardly changes a wrong term, but gives other rounding errors.
"""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np

from jax_ref.verify.comparison import tolerance
from jax_ref.verify.comparison.compare import Seen
from jax_ref.verify.comparison.sides import Sides
from jax_ref.verify.diagnosis.explanation import Context, Explanation
from jax_ref.verify.points.inputs import perturbed
from jax_ref.verify.points.point import Point
from jax_ref.verify.trees import dtype_of, float64

NARROWER = (jnp.float32, jnp.float16, jnp.bfloat16)

RANGE = 50
"""The largest factor, up or down, between the relative error and the machine epsilon of a dtype."""

CHANGED = 0.3
"""The least relative change of the error under the perturbation, if it is rounding."""


TYPICAL = 0.4
"""The relative error in eps: 0.2 of a cast, about 1 of a few operations."""


def explanations(path: str, seen: list[Seen], context: Context) -> Iterator[Explanation]:
    """The cotangent itself, wherever its error is the rounding of the same narrower dtype."""
    for dtype in _lost(seen[0], path, context):

        def predicted(s: Seen, dtype: str = dtype) -> np.ndarray | None:
            return s.cotangents[path].actual if dtype in _lost(s, path, context) else None

        yield Explanation("precision", f"it has the digits of {dtype} only", predicted)


def _lost(seen: Seen, path: str, context: Context) -> list[str]:
    """The dtypes, narrower than the leaf's, whose digits it may have; the one that fits best first."""
    c = seen.cotangents[path]
    if np.any(c.corrected):  # beside a tie autodiff is not what is right
        return []
    error = c.actual - c.exact
    relative = tolerance.size(error) / max(tolerance.size(c.exact), 1e-150)
    own = float(jnp.finfo(dtype_of(context.reference.leaves(seen.point.args)[path])).eps)
    fitting = {}
    for dtype in NARROWER:
        eps = float(jnp.finfo(dtype).eps)
        if eps > own and eps / RANGE < relative < eps * RANGE and np.all(np.isfinite(error)):
            moved = tolerance.distance(_error(context.sides, _near(seen.point, eps), path), error)
            if moved > CHANGED * tolerance.size(error):
                fitting[jnp.dtype(dtype).name] = abs(np.log(relative / (TYPICAL * eps)))
    return sorted(fitting, key=lambda dtype: fitting[dtype])


def _error(sides: Sides, point: Point, path: str) -> np.ndarray:
    return float64(sides.manual(point)[1][path]) - np.asarray(sides.exact(point)[1][path])


def _near(point: Point, step: float) -> Point:
    """The point with its floating arguments, and the cotangent, moved by up to `step` of themselves."""
    rng = np.random.default_rng(0)
    args, d_output = perturbed((point.args, point.d_output), lambda shape: step * rng.uniform(-1, 1, shape))
    return point._replace(args=args, d_output=d_output)
