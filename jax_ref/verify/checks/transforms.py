"""Invariance under `jit` and `vmap`, determinism, and arguments that are not written to."""

import copy
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jax_ref.verify.comparison import tolerance
from jax_ref.verify.comparison.compare import Seen
from jax_ref.verify.comparison.sides import Sides
from jax_ref.verify.findings import Finding
from jax_ref.verify.oracle import x64_for
from jax_ref.verify.points.point import Point
from jax_ref.verify.structure import match
from jax_ref.verify.subject import Subject
from jax_ref.verify.trees import is_floating


def violations(
    subject: Subject,
    sides: Sides,
    several: Sequence[Seen],
    allowed: Callable[[Seen, str, float], float],
) -> list[Finding]:
    """What differs between two calls, under `jit` and eagerly, or under `vmap` and in a loop.

    It is tried at two points that were seen. `allowed(seen, path, distance)` says how far apart two results
    may be, at one of them and for one leaf, that are so far apart.
    """
    point, names = several[0].point, sides.reference.names
    with x64_for((point.args, point.d_output)):
        before = copy.deepcopy(_arrays(point))
        first, second = (sides.manual(point)[1] for _ in range(2))
        findings = [
            Finding("not deterministic", path, "two calls with the same arguments differ")
            for path in first
            if not _same(first[path], second[path])
        ]
        if findings:
            return findings
        on_device = jax.tree.map(jnp.asarray, (point.args, point.d_output))
        if not _traces_the_same(subject, point):
            return [Finding("not deterministic", "", "two calls with the same arguments run other programs")]
        eager = match(point.args, subject.run(*on_device)[1], names).right
        limit = functools.partial(allowed, several[0])
        findings += _differ("under jit and without it", first, eager, limit)
        stacked = jax.tree.map(_stack, *[(s.point.args, s.point.d_output) for s in several])
        mapped = sides.by_hand_mapped(*stacked)[1]
        one_by_one = [sides.manual(s.point)[1] for s in several]
        for i, single in enumerate(one_by_one):
            row = {path: np.asarray(values)[i] for path, values in mapped.items()}
            limit = functools.partial(allowed, several[i])
            findings += _differ("under vmap and one by one", single, row, limit)
    if not all(_same(a, b) for a, b in zip(before, _arrays(point), strict=True)):
        findings.append(Finding("transform", "", "the call changed its arguments in place"))
    return list({f.path: f for f in findings}.values())


def _arrays(point: Point) -> list[np.ndarray]:
    """The arguments that a call could write into."""
    return [x for x in jax.tree.leaves(point.args) if isinstance(x, np.ndarray)]


def _differ(
    how: str, one: dict[str, Any], other: dict[str, Any], allowed: Callable[[str, float], float]
) -> list[Finding]:
    apart = {path: tolerance.distance(one[path], other[path]) for path in one}
    return [
        Finding("transform", path, f"it differs {how}")
        for path, distance in apart.items()
        if distance > allowed(path, distance)
    ]


def _same(one: Any, other: Any) -> bool:
    """Whether two arrays hold the same bits."""
    a, b = np.asarray(one), np.asarray(other)
    return np.array_equal(a, b, equal_nan=is_floating(a))


def _traces_the_same(subject: Subject, point: Point) -> bool:
    """Whether JAX sees the same program twice: random numbers of NumPy's, say, are constants in it."""
    one, other = (
        jax.make_jaxpr(lambda *given: subject.run(*given))(point.args, point.d_output) for _ in range(2)
    )
    constants = zip(one.consts, other.consts, strict=False)
    return str(one) == str(other) and all(_same(a, b) for a, b in constants)


def _stack(*leaves: Any) -> Any:
    """One array of several; NumPy's where it can, as it compiles nothing."""
    return np.stack(leaves) if isinstance(leaves[0], np.ndarray) else jnp.stack(leaves)
