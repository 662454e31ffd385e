"""Linearity of the backward pass in the cotangent of the output: under scaling, negation and addition."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import DTypeLike, PyTree
from numpy.typing import ArrayLike

from jax_ref.verify.comparison import allowances, tolerance
from jax_ref.verify.comparison.compare import Compared, Seen
from jax_ref.verify.comparison.nearby_runs import NearbyRuns
from jax_ref.verify.comparison.sides import Sides
from jax_ref.verify.findings import IMPRECISE, Finding
from jax_ref.verify.trees import float64, floats

SCALES = (-1.0, 128.0, -128.0, 0.0)
"""Powers of two: a cotangent times one of them is exact in every dtype."""

FAR = 2.0**40
"""Far outside of float16, through which a cotangent in bfloat16 must not go."""

GRID = 16
"""One over the distance of the values of cotangents here, which go to +-2: no sum of two is rounded."""

ROOM = 0.01
"""Share of the dtype's range that is looked at: what is summed on the way may be larger than the sum."""


def violations(sides: Sides, seen: Seen, rng: np.random.Generator) -> list[Finding]:
    """What is not linear at a point where both sides were compared, each leaf once."""
    findings: dict[str, Finding] = {}
    point, runs = seen.point, NearbyRuns(sides, seen.point, rng)
    found = {path: _with_its_error(seen, path) for path in seen.cotangents}

    def drawn() -> PyTree:
        return _map(
            lambda d: np.clip(np.round(GRID * rng.normal(size=d.shape)) / GRID, -2, 2), point.d_output
        )

    def cotangents(d_output: PyTree) -> dict[str, Any]:
        return sides.manual(point._replace(d_output=d_output))[1]

    def beyond(off: float, times: float, path: str, *results: dict[str, Any]) -> bool:
        """Whether a distance is more than so many times the bound for the results."""

        def over(c: Compared) -> bool:
            return off > times * max(_allowed(c, result[path]) for result in results)

        return over(found[path]) and over(allowances.of_arguments(runs, path, found[path]))

    first, second = drawn(), drawn()
    base, other = cotangents(first), cotangents(second)
    for scale in SCALES:
        scaled = cotangents(_map(lambda d, s=scale: s * d, first))
        for path, c in found.items():
            expected = scale * np.asarray(base[path], np.float64)
            if not _has_room(expected, base[path].dtype):
                continue
            off, times = tolerance.distance(scaled[path], expected), 4 * max(abs(scale), 1)
            if path not in findings and beyond(off, times, path, base):
                same = tolerance.distance(other[path], base[path]) <= c.bound
                ignored = same and tolerance.distance(scaled[path], base[path]) <= 2 * c.bound
                kind = "cotangent ignored" if ignored else "not linear"
                allowed = times * _allowed(c, base[path])
                text = (
                    "it is the same for every cotangent of the output; it must be multiplied by it"
                    if ignored
                    else f"for {scale:g} times the cotangent of the output it is not {scale:g} times as large"
                    f"{_sizes(off, allowed, expected)}"
                )
                findings[path] = Finding(kind, path, text)
    if all(_has_room(2 * FAR, d.dtype) for d in floats(first)):
        far = cotangents(_map(lambda d: FAR * d, first))
        for path, c in found.items():
            known = all(_has_room(FAR * float64(base[path]), dtype) for dtype in (base[path].dtype, c.dtype))
            if path not in findings and known and not np.all(np.isfinite(far[path])):
                text = f"for {FAR:g} times the cotangent of the output it is not finite"
                findings[path] = Finding(
                    "not linear", path, f"{text}: is it in a dtype of less range inside?"
                )
    summed = cotangents(jax.tree.map(_add, first, second))
    for path in found:
        expected = np.asarray(base[path], np.float64) + np.asarray(other[path], np.float64)
        off = tolerance.distance(summed[path], expected)
        if path not in findings and beyond(off, 16, path, base, other):
            allowed = 16 * max(_allowed(found[path], base[path]), _allowed(found[path], other[path]))
            text = (
                "for the sum of two cotangents of the output it is not the sum of the two results"
                f"{_sizes(off, allowed, expected)}"
            )
            findings[path] = Finding("not linear", path, text)
    return list(findings.values())


def _has_room(x: ArrayLike, dtype: DTypeLike) -> bool:
    """Whether a dtype has numbers for such values, and for what is summed on the way to them."""
    return bool(np.max(np.abs(float64(x)), initial=0) <= ROOM * float(jnp.finfo(dtype).max))


def _sizes(off: float, allowed: float, expected: np.ndarray) -> str:
    size = max(tolerance.size(expected), 1e-150)
    return f": off by {off / size:.1e} of its norm, allowed {allowed / size:.1e}" if np.any(expected) else ""


def _with_its_error(seen: Seen, path: str) -> Compared:
    """What was seen of a leaf, with its error allowed where that is rounding, which adds up to nothing."""
    c = seen.cotangents[path]
    return replace(c, bound=max(c.bound, c.error)) if seen.verdict(path) == IMPRECISE else c


def _allowed(c: Compared, result: Any) -> float:
    """The bound, which is for another cotangent of the output, as much larger as this one's result is."""
    size = tolerance.size(c.exact)
    return c.bound * (max(1.0, tolerance.size(result) / size) if size else 1.0)


def _map(f: Any, d_output: PyTree) -> PyTree:
    return jax.tree.map(
        lambda d: d if d.dtype == jax.dtypes.float0 else np.asarray(f(d)).astype(d.dtype), d_output
    )


def _add(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return x if x.dtype == jax.dtypes.float0 else (x + y).astype(x.dtype)
