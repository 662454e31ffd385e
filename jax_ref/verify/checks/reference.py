"""Consistency of the reference's derivative by JAX with its values: otherwise the oracle is not one."""

import jax
import numpy as np

from jax_ref.verify.checks import finite_differences
from jax_ref.verify.comparison import tolerance
from jax_ref.verify.comparison.sides import Sides
from jax_ref.verify.comparison.ties import Tie
from jax_ref.verify.findings import Finding
from jax_ref.verify.oracle import inner
from jax_ref.verify.points.point import Point
from jax_ref.verify.trees import is_floating, magnitudes, widened


def violations(sides: Sides, point: Point, rng: np.random.Generator, rtol: float = 0.0) -> list[Finding]:
    """A finding if the slope along a random direction is not that of the values, by more than can be told."""
    direction = jax.tree.map(
        lambda x: rng.normal(size=np.shape(x)) if is_floating(x) else np.zeros(()), point.args
    )
    output, cotangents = sides.in_float64(point)
    along = sides.reference.leaves(direction)
    by_leaf = [(np.asarray(c), along[path]) for path, c in cotangents.items()]
    by_autodiff = sum(float(np.vdot(c, dx)) for c, dx in by_leaf)
    size = sum(tolerance.size(c) * tolerance.size(dx) for c, dx in by_leaf)
    start, d_output = widened((point.args, point.d_output))

    def value(h: float) -> float:
        moved = jax.tree.map(lambda x, dx: x + h * dx if is_floating(x) else x, start, direction)
        return float(inner(widened(sides.in_float64(Point("", moved, d_output))[0]), d_output))

    terms = float(inner(magnitudes(widened(output)), magnitudes(d_output)))
    by_difference, error = finite_differences.slope(value, terms)
    if not abs(by_difference - by_autodiff) > 20 * error + max(1e-6, rtol) * size:  # nor where it is NaN
        return []
    text = (
        f"its derivative by JAX is {by_autodiff:.6g}, that of its values {by_difference:.6g} (±{error:.1e}) "
        "along a random direction: has it a gradient of its own, or a stop_gradient? If that is meant, leave "
        "this part out with skip={'reference': the reason}"
    )
    return [Finding("reference", "", text, point.args)]


def of_ties(point: Point, tied: dict[str, Tie]) -> list[Finding]:
    """A finding for the entries at which the derivative by JAX is not that of differences to both sides."""
    path, tie = next(iter(tied.items()))
    first = tuple(map(int, np.argwhere(tie.entries)[0]))
    text = (
        f"it is smooth at {path}{list(first)} ({point.name}), where parts of it have a tie or a kink: its "
        f"slope there is {tie.slopes[first]:.6g} by differences to both sides, and another one by JAX. The "
        "cotangents are held to the differences"
    )
    return [Finding("reference", "", text, point.args)]
