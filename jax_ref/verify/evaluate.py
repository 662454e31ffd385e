"""Both sides at one point: the hand-written gradient and the oracle, and how far apart they may be."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify import digits, oracle, tolerance
from jax_ref.verify.digits import Digits
from jax_ref.verify.oracle import is_floating, wide
from jax_ref.verify.points import inputs
from jax_ref.verify.points.point import Point
from jax_ref.verify.structure import labelled, match
from jax_ref.verify.subject import Subject

NEIGHBOURS = 3
"""Points one unit in the last place away, at which autodiff's own error is measured too."""


class Compared(NamedTuple):
    """One leaf, or the output, at one point: what was found, what is right, and the distance allowed."""

    actual: np.ndarray
    exact: np.ndarray
    bound: float

    @property
    def error(self) -> float:
        """The distance; infinite where a finite entry is not."""
        if not np.all(np.isfinite(self.actual[np.isfinite(self.exact)])):
            return float("inf")
        return tolerance.distance(self.actual, self.exact)

    @property
    def wrong(self) -> bool:
        """Whether the distance is more than allowed; a bound of NaN allows all."""
        return self.error > self.bound


class Sides(NamedTuple):
    """The two sides compiled: `(args, d_output) -> (output, {path: cotangent})`; and the first mapped.

    `digits` are those of the second.
    """

    manual: Callable[..., Any]
    autodiff: Callable[..., Any]
    mapped: Callable[..., Any]
    digits: Digits


def sides(subject: Subject, names: tuple[str, ...], example: tuple[PyTree, ...]) -> Sides:
    """Both sides of a subject as jitted functions; one program for each shape and dtype."""
    manual, autodiff, mapped = _sides(subject, names)
    return Sides(manual, autodiff, mapped, digits.of(subject.reference, widened(example)))


@functools.lru_cache(maxsize=32)
def _sides(subject: Subject, names: tuple[str, ...]) -> tuple[Callable[..., Any], ...]:
    def manual(args: tuple[PyTree, ...], d_output: PyTree) -> Any:
        output, cotangents = subject.run(args, d_output)
        return output, match(args, cotangents, names)[0]

    what = "fwd" if subject.own_forward else "the reference"
    return jax.jit(manual), _autodiff(subject.reference, names, what), jax.jit(jax.vmap(manual))


@functools.lru_cache(maxsize=32)
def _autodiff(reference: Callable[..., PyTree], names: tuple[str, ...], what: str) -> Callable[..., Any]:
    """The oracle's side; one program for all backward passes that are held against the same reference."""

    def autodiff(args: tuple[PyTree, ...], d_output: PyTree) -> Any:
        try:
            return differentiated(reference, args, d_output, names)
        except Exception as error:  # of the user's code, or of JAX for what has no derivative
            raise TypeError(f"verify: JAX cannot differentiate {what}: {error}") from error

    return jax.jit(autodiff)


def differentiated(
    reference: Callable[..., PyTree], args: tuple[PyTree, ...], d_output: PyTree, names: tuple[str, ...]
) -> tuple[PyTree, dict[str, Any]]:
    """The reference's output and its cotangents by `jax.vjp`, of each floating leaf by its path."""
    output, cotangents = oracle.value_and_vjp(reference, args, d_output)
    return output, labelled(cotangents, names)


def manual(both: Sides, point: Point) -> tuple[PyTree, dict[str, Any]]:
    """The hand-written side at a point, in the dtypes of the point."""
    with x64_for((point.args, point.d_output)):
        return both.manual(point.args, point.d_output)


def exact(both: Sides, point: Point) -> tuple[PyTree, dict[str, Any]]:
    """The oracle at a point: in float64, but in the point's own dtypes where it draws random numbers."""
    return _own(both, point) if both.digits.draws else in_float64(both, point)


def in_float64(both: Sides, point: Point) -> tuple[PyTree, dict[str, Any]]:
    """Autodiff at a point, in float64 whatever the process is set to."""
    with wide():
        return both.autodiff(*widened((point.args, point.d_output)))


def _own(both: Sides, point: Point) -> tuple[PyTree, dict[str, Any]]:
    """Autodiff at a point, in the dtypes of the point."""
    with x64_for((point.args, point.d_output)):
        return both.autodiff(point.args, point.d_output)


def compare(
    both: Sides, point: Point, rng: np.random.Generator
) -> tuple[list[Compared], dict[str, Compared]]:
    """The output's leaves, and each argument's leaf by its path, against the oracle.

    Beside what `tolerance` allows, a result may stray twice as far as the oracle does when the arguments
    move by a unit in the last place: nobody can do better who rounds on the way. No more digits are asked for
    than the oracle has.
    """
    output, cotangents = manual(both, point)
    near = [point, *(point._replace(args=inputs.nearby(point.args, rng)) for _ in range(NEIGHBOURS))]
    oracles = [exact(both, p) for p in near]
    largest = max((float(np.max(np.abs(_f64(x)), initial=0)) for x in _floats(point.args)), default=1.0)

    @functools.cache
    def own() -> list[Any]:
        """Autodiff in the dtypes of the point: compiled only for what needs its leave."""
        return [_own(both, p) for p in near]

    def compared(pick: Callable[[Any], Any], cotangent: PyTree) -> Compared:
        truth, actual = _f64(pick(oracles[0])), pick((output, cotangents))
        moved = 2 * max(tolerance.distance(_f64(pick(o)), truth) for o in oracles[1:])
        dtype = digits.coarser(actual.dtype, both.digits.dtype)
        if dtype == np.float64:
            return Compared(_f64(actual), truth, tolerance.bound64(truth, cotangent, largest) + moved)

        def within(autodiff_error: float) -> Compared:
            allowed = tolerance.bound(truth, autodiff_error, dtype, cotangent, largest)
            return Compared(_f64(actual), truth, allowed + moved)

        return within(_furthest(pick, own(), oracles)) if within(0.0).wrong else within(0.0)

    def equal(pick: Callable[[Any], Any]) -> Compared:
        """Integers and booleans of an output, which must be those of the reference in the same dtype."""
        actual, truth = _f64(pick((output, cotangents))), _f64(pick(oracles[0]))
        if np.any(actual != truth):
            truth = _f64(pick(own()[0]))
        return Compared(actual, truth, 0.0)

    size = np.concatenate([_f64(x).ravel() for x in _floats(point.d_output)])
    outputs = []
    for i, leaf in enumerate(jax.tree.leaves(output)):
        pick = lambda side, i=i: jax.tree.leaves(side[0])[i]  # noqa: E731
        outputs.append(compared(pick, np.ones(leaf.shape)) if is_floating(leaf) else equal(pick))
    return outputs, {path: compared(lambda side, p=path: side[1][p], size) for path in cotangents}


def _furthest(pick: Callable[[Any], Any], own: list[Any], oracles: list[Any]) -> float:
    """How far autodiff strays from the oracle at most; NaN where it is not finite itself."""
    pairs = zip(own, oracles, strict=True)
    return max(tolerance.distance(_f64(pick(a)), _f64(pick(o))) for a, o in pairs)


def inner(output: PyTree, d_output: PyTree) -> Any:
    """The sum of <output, d_output> over the floating leaves: a number whose gradient is the cotangents."""
    pairs = zip(jax.tree.leaves(output), jax.tree.leaves(d_output), strict=True)
    return sum((o * d).sum() for o, d in pairs if is_floating(o))


def magnitude(x: Any) -> Any:
    """|x| of a floating leaf."""
    return abs(x) if is_floating(x) else x


def widened(tree: PyTree) -> PyTree:
    """`tree` with its floating leaves in float64."""
    return jax.tree.map(lambda x: _f64(x) if is_floating(x) else x, tree)


def _f64(x: Any) -> np.ndarray:
    return np.asarray(x).astype(np.float64)


def _floats(tree: PyTree) -> list[Any]:
    return [leaf for leaf in jax.tree.leaves(tree) if is_floating(leaf)]


def x64_for(tree: PyTree) -> Any:
    """A context in which `tree` keeps its dtypes, and that takes no x64 from a process that has it."""
    return jax.enable_x64(_has_float64(tree) or jax.config.read("jax_enable_x64"))


def _has_float64(tree: PyTree) -> bool:
    return any(leaf.dtype == np.float64 for leaf in _floats(tree))
