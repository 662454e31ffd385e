"""The two sides of a comparison, compiled: the hand-written gradient, and autodiff of the reference."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jaxtyping import PyTree

from jax_ref.verify.comparison import resolution
from jax_ref.verify.comparison.reference import Reference
from jax_ref.verify.oracle import wide, x64_for
from jax_ref.verify.points.point import Point
from jax_ref.verify.structure import match
from jax_ref.verify.subject import Subject
from jax_ref.verify.trees import widened

Gradient = tuple[PyTree, dict[str, Any]]
"""The output, and the cotangents of the floating leaves by path."""


class Sides(NamedTuple):
    """Both sides as jitted functions `(args, d_output) -> Gradient`; the hand-written one also mapped."""

    reference: Reference
    by_hand: Callable[..., Gradient]
    by_autodiff: Callable[..., Gradient]
    by_hand_mapped: Callable[..., Gradient]

    def manual(self, point: Point) -> Gradient:
        """The hand-written side at a point, in the dtypes of the point."""
        with x64_for((point.args, point.d_output)):
            return self.by_hand(point.args, point.d_output)

    def exact(self, point: Point) -> Gradient:
        """The oracle: in float64, but in the point's own dtypes where it draws random numbers."""
        return self.own(point) if self.reference.resolution.draws else self.in_float64(point)

    def in_float64(self, point: Point) -> Gradient:
        """Autodiff at a point, in float64 whatever the process is set to."""
        with wide():
            return self.by_autodiff(*widened((point.args, point.d_output)))

    def own(self, point: Point) -> Gradient:
        """Autodiff at a point, in the dtypes of the point."""
        with x64_for((point.args, point.d_output)):
            return self.by_autodiff(point.args, point.d_output)


def of(subject: Subject, example: tuple[PyTree, ...]) -> Sides:
    """Both sides of a subject; one program for each shape and dtype."""
    resolved = resolution.of(subject.reference, widened(example))
    reference = Reference(subject.reference, subject.names(len(example)), resolved)
    by_hand, mapped = _by_hand(subject, reference.names)
    what = "fwd" if subject.own_forward else "the reference"
    return Sides(reference, by_hand, _by_autodiff(reference, what), mapped)


@functools.lru_cache(maxsize=32)
def _by_hand(subject: Subject, names: tuple[str, ...]) -> tuple[Callable[..., Gradient], ...]:
    def manual(args: tuple[PyTree, ...], d_output: PyTree) -> Gradient:
        output, cotangents = subject.run(args, d_output)
        return output, match(args, cotangents, names)[0]

    return jax.jit(manual), jax.jit(jax.vmap(manual))


@functools.lru_cache(maxsize=32)
def _by_autodiff(reference: Reference, what: str) -> Callable[..., Gradient]:
    """One program for all backward passes that are held against the same reference."""

    def autodiff(args: tuple[PyTree, ...], d_output: PyTree) -> Gradient:
        try:
            return reference.differentiated(args, d_output)
        except Exception as error:  # of the user's code, or of JAX for what has no derivative
            raise TypeError(f"verify: JAX cannot differentiate {what}: {error}") from error

    return jax.jit(autodiff)
