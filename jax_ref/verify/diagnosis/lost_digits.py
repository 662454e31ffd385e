"""Lost digits: a cotangent that is off by the rounding of a narrower dtype.

Rounding is told from a small wrong term by moving the arguments a little, by up to a unit in the last place
of the narrower dtype: the wrong term hardly changes, rounding falls out otherwise.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_ref.verify.comparison import tolerance
from jax_ref.verify.comparison.compare import Seen
from jax_ref.verify.comparison.sides import Sides, exact, manual
from jax_ref.verify.diagnosis.explanation import Context
from jax_ref.verify.points.point import Point
from jax_ref.verify.trees import dtype_of, is_floating, labelled

NARROWER = (jnp.float32, jnp.float16, jnp.bfloat16)

RANGE = 50
"""How many units, or how small a part of one, the error may be, relative to the norm."""

CHANGED = 0.3
"""How much of the error is another one where the arguments are moved, if it is rounding."""


def lost(seen: Seen, path: str, context: Context) -> list[str]:
    """The dtypes, narrower than the leaf's, whose digits it may have; the one that fits best first."""
    c = seen.cotangents[path]
    error = c.actual - c.exact
    relative = tolerance.size(error) / max(tolerance.size(c.exact), 1e-150)
    own = float(jnp.finfo(dtype_of(labelled(seen.point.args, context.names)[path])).eps)
    fitting = {}
    for dtype in NARROWER:
        eps = float(jnp.finfo(dtype).eps)
        if eps > own and eps / RANGE < relative < eps * RANGE and np.all(np.isfinite(error)):
            near = _near(seen.point, eps)
            moved = tolerance.distance(_error(context.both, near, path), error)
            if moved > CHANGED * tolerance.size(error):
                fitting[jnp.dtype(dtype).name] = abs(np.log(relative / eps))
    return sorted(fitting, key=lambda dtype: fitting[dtype])


def _error(both: Sides, point: Point, path: str) -> np.ndarray:
    return np.asarray(manual(both, point)[1][path], np.float64) - np.asarray(exact(both, point)[1][path])


def _near(point: Point, step: float) -> Point:
    """The point with its floating arguments, and the cotangent, moved by up to `step` of themselves."""
    rng = np.random.default_rng(0)

    def leaf(x: Any) -> Any:
        if not is_floating(x):
            return x
        return (x.astype(np.float64) * (1 + step * rng.uniform(-1, 1, x.shape))).astype(x.dtype)

    args, d_output = jax.tree.map(leaf, (point.args, point.d_output))
    return point._replace(args=args, d_output=d_output)
