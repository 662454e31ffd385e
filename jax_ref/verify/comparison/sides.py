"""The two sides of a comparison, compiled: the hand-written gradient, and autodiff of the reference."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.comparison import resolution
from jax_ref.verify.comparison.reference import Reference
from jax_ref.verify.oracle import wide, x64_for
from jax_ref.verify.points.point import Point
from jax_ref.verify.program.compiled import seldom
from jax_ref.verify.structure import match
from jax_ref.verify.subject import Subject
from jax_ref.verify.trees import floats, widened

Gradient = tuple[PyTree, dict[str, Any]]
"""The output, and the cotangents of the floating leaves by path."""


SMALL = 10_000
"""The most numbers in the arguments for which compiling takes longer than running without optimisation."""


class Programs(NamedTuple):
    """One side as a jitted function `(args, d_output) -> Gradient`: as the user's own, and soon compiled."""

    optimized: Callable[..., Gradient]
    soon: Callable[..., Gradient]

    def __call__(self, args: tuple[PyTree, ...], d_output: PyTree) -> Gradient:
        """The soon compiled one in float64 at small sizes; in a narrow dtype a user's own rounding counts."""
        leaves = floats((args, d_output))
        small = sum(np.size(x) for x in leaves) <= SMALL and all(x.dtype == np.float64 for x in leaves)
        return (self.soon if small else self.optimized)(args, d_output)


class Sides(NamedTuple):
    """Both sides; the hand-written one also mapped."""

    reference: Reference
    by_hand: Programs
    by_autodiff: Programs
    by_hand_mapped: Programs

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
def _by_hand(subject: Subject, names: tuple[str, ...]) -> tuple[Programs, Programs]:
    def manual(args: tuple[PyTree, ...], d_output: PyTree) -> Gradient:
        output, cotangents = subject.run(args, d_output)
        return output, match(args, cotangents, names)[0]

    return _programs(manual), _programs(jax.vmap(manual))


@functools.lru_cache(maxsize=32)
def _by_autodiff(reference: Reference, what: str) -> Programs:
    """The same for all backward passes that are held against the same reference."""

    def autodiff(args: tuple[PyTree, ...], d_output: PyTree) -> Gradient:
        try:
            return reference.differentiated(args, d_output)
        except Exception as error:  # of the user's code, or of JAX for what has no derivative
            raise TypeError(f"verify: JAX cannot differentiate {what}: {error}") from error

    return _programs(autodiff)


def _programs(function: Callable[..., Gradient]) -> Programs:
    return Programs(jax.jit(function), seldom(function))
