"""Both sides at one point: the hand-written gradient and the oracle, and how far apart they may be."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jaxtyping import PyTree

from jax_ref.verify.comparison import resolution
from jax_ref.verify.comparison.resolution import Resolution
from jax_ref.verify.oracle import value_and_vjp, wide, x64_for
from jax_ref.verify.points.point import Point
from jax_ref.verify.structure import match
from jax_ref.verify.subject import Subject
from jax_ref.verify.trees import labelled, widened


class Sides(NamedTuple):
    """The two sides compiled: `(args, d_output) -> (output, {path: cotangent})`; and the first mapped.

    `resolution` is that of the second.
    """

    manual: Callable[..., Any]
    autodiff: Callable[..., Any]
    mapped: Callable[..., Any]
    resolution: Resolution


def sides(subject: Subject, names: tuple[str, ...], example: tuple[PyTree, ...]) -> Sides:
    """Both sides of a subject as jitted functions; one program for each shape and dtype."""
    manual, autodiff, mapped = _sides(subject, names)
    return Sides(manual, autodiff, mapped, resolution.of(subject.reference, widened(example)))


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
    output, cotangents = value_and_vjp(reference, args, d_output)
    return output, labelled(cotangents, names)


def manual(both: Sides, point: Point) -> tuple[PyTree, dict[str, Any]]:
    """The hand-written side at a point, in the dtypes of the point."""
    with x64_for((point.args, point.d_output)):
        return both.manual(point.args, point.d_output)


def exact(both: Sides, point: Point) -> tuple[PyTree, dict[str, Any]]:
    """The oracle at a point: in float64, but in the point's own dtypes where it draws random numbers."""
    return _own(both, point) if both.resolution.draws else in_float64(both, point)


def in_float64(both: Sides, point: Point) -> tuple[PyTree, dict[str, Any]]:
    """Autodiff at a point, in float64 whatever the process is set to."""
    with wide():
        return both.autodiff(*widened((point.args, point.d_output)))


def _own(both: Sides, point: Point) -> tuple[PyTree, dict[str, Any]]:
    """Autodiff at a point, in the dtypes of the point."""
    with x64_for((point.args, point.d_output)):
        return both.autodiff(point.args, point.d_output)
