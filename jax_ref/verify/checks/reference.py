"""Whether the reference's derivative by JAX is that of its values: else the oracle is not to be believed."""

import jax
import numpy as np

from jax_ref.verify.checks import finite_differences
from jax_ref.verify.comparison import tolerance
from jax_ref.verify.comparison.sides import Sides, in_float64
from jax_ref.verify.findings import Finding
from jax_ref.verify.oracle import inner
from jax_ref.verify.points.point import Point
from jax_ref.verify.trees import is_floating, labelled, magnitudes, widened


def violations(both: Sides, point: Point, names: tuple[str, ...], rng: np.random.Generator) -> list[Finding]:
    """A finding if the slope along a random direction is not that of the values, by more than can be told."""
    direction = jax.tree.map(
        lambda x: rng.normal(size=np.shape(x)) if is_floating(x) else np.zeros(()), point.args
    )
    output, cotangents = in_float64(both, point)
    by_leaf = {path: (np.asarray(c), labelled(direction, names)[path]) for path, c in cotangents.items()}
    by_autodiff = sum(float(np.vdot(c, along)) for c, along in by_leaf.values())
    size = sum(tolerance.size(c) * tolerance.size(along) for c, along in by_leaf.values())
    start, d_output = widened((point.args, point.d_output))

    def value(h: float) -> float:
        moved = jax.tree.map(lambda x, dx: x + h * dx if is_floating(x) else x, start, direction)
        return float(inner(widened(in_float64(both, Point("", moved, d_output))[0]), d_output))

    terms = magnitudes((widened(output), d_output))
    by_difference, error = finite_differences.slope(value, float(inner(*terms)))
    if not abs(by_difference - by_autodiff) > 20 * error + 1e-6 * size:  # nor where it is NaN
        return []
    text = (
        f"its derivative by JAX is {by_autodiff:.6g}, that of its values {by_difference:.6g} (±{error:.1e}) "
        "along a random direction: has it a gradient of its own, or a stop_gradient? If that is meant, leave "
        "this part out with skip={'reference': the reason}"
    )
    return [Finding("reference", "", text, point.args)]
