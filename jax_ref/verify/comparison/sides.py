"""The two sides of a comparison, compiled: the hand-written gradient, and autodiff of the reference."""

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import DTypeLike, PyTree

from jax_ref.verify.comparison import resolution
from jax_ref.verify.comparison.reference import Reference
from jax_ref.verify.oracle import wide, x64_for
from jax_ref.verify.points.point import Point
from jax_ref.verify.program.compiled import Program, Seldom, is_small, otherwise
from jax_ref.verify.program.raised import message, own_line
from jax_ref.verify.structure import match
from jax_ref.verify.subject import Subject
from jax_ref.verify.trees import dtype_of, floats, widened

Gradient = tuple[PyTree, dict[str, Any]]
"""The output, and the cotangents of the floating leaves by path."""


SHAPES = np.float32
"""The digits from which on a program is soon compiled that is run for its shapes, as of another batch."""


class Programs(NamedTuple):
    """A jitted function of `(args, d_output)`: as a user's own is, soon compiled, and in yet another way."""

    optimized: Program
    soon: Seldom
    otherwise: Program

    def __call__(self, args: tuple[PyTree, ...], d_output: PyTree) -> Any:
        """The result for arguments of these shapes and dtypes."""
        return self.at(args, d_output)(args, d_output)

    def at(self, args: tuple[PyTree, ...], d_output: PyTree, digits: DTypeLike = np.float64) -> Program:
        """The soon compiled one where all have so many digits: with fewer the user's rounding counts."""
        least = jnp.finfo(digits).bits
        wide = all(jnp.finfo(x.dtype).bits >= least for x in floats((args, d_output)))
        return self.soon.at((args, d_output)) if wide else self.optimized


class Sides(NamedTuple):
    """Both sides as programs `(args, d_output) -> Gradient`; the hand-written one also mapped.

    `both` is the two of them as one program, as it is compiling that takes the time.
    """

    reference: Reference
    by_hand: Programs
    by_autodiff: Programs
    both: Programs
    by_hand_mapped: Programs
    digits_by_hand: Callable[..., np.dtype | None]

    def manual(self, point: Point) -> Gradient:
        """The hand-written side at a point, in the dtypes of the point."""
        if self.finest(point) == np.float64 and self._joined(point):
            return self._both(point)[0]
        with x64_for((point.args, point.d_output)):
            return self._by_hand_at(point)(point.args, point.d_output)

    def mapped(self, stacked: tuple[Any, Any]) -> Program:
        """The program of the hand-written side for several points at once, stacked."""
        return self.by_hand_mapped.at(*stacked, SHAPES)

    def exact(self, point: Point) -> Gradient:
        """The oracle: in float64, but in the point's own dtypes where it draws random numbers."""
        return self.own(point) if self.reference.resolution.own else self.in_float64(point)

    def in_float64(self, point: Point) -> Gradient:
        """Autodiff at a point, in float64 whatever the process is set to."""
        if self._joined(point):
            return self._both(point)[1]
        with wide():
            return self.by_autodiff(*widened((point.args, point.d_output)))

    def otherwise(self, point: Point) -> Gradient:
        """The oracle in float64, by another program."""
        with wide():
            return self.by_autodiff.otherwise(*widened((point.args, point.d_output)))

    def own(self, point: Point) -> Gradient:
        """Autodiff at a point, in the dtypes of the point."""
        with x64_for((point.args, point.d_output)):
            return self.by_autodiff(point.args, point.d_output)

    def ahead(self, workers: Executor, point: Point) -> None:
        """Let the workers compile what `manual` and `exact` run at points of such shapes and dtypes."""
        for context, program, given in self._programs(point):
            with context:
                program.ahead(workers, *given)

    def own_ahead(self, workers: Executor, point: Point) -> None:
        """The same of what `own` runs."""
        given = point.args, point.d_output
        with x64_for(given):
            self.by_autodiff.at(*given).ahead(workers, *given)

    def is_new(self, point: Point) -> bool:
        """Whether something of that is not compiled yet."""
        for context, program, given in self._programs(point):
            with context:
                if program.is_new(*given):
                    return True
        return False

    def _programs(self, point: Point) -> Iterator[tuple[Any, Program, tuple[Any, Any]]]:
        """Those of `manual` and `exact`, each with its context and arguments."""
        given, joined = (point.args, point.d_output), self._joined(point)
        if not (joined and self.finest(point) == np.float64):
            yield x64_for(given), self._by_hand_at(point), given
        if self.reference.resolution.own:
            yield x64_for(given), self.by_autodiff.at(*given), given
        else:
            yield wide(), (self.both if joined else self.by_autodiff).at(*widened(given)), widened(given)

    def digits(self, point: Point) -> np.dtype | None:
        """The coarsest dtype that the hand-written side has for arguments in float64; None if it has none."""
        with wide():
            return self.digits_by_hand(*widened((point.args, point.d_output)))

    def finest(self, point: Point) -> np.dtype | None:
        """The dtype of the floating leaves of a point, if it is one."""
        dtypes = {np.dtype(leaf.dtype) for leaf in floats((point.args, point.d_output))}
        return dtypes.pop() if len(dtypes) == 1 else None

    def _by_hand_at(self, point: Point) -> Program:
        digits = SHAPES if point.resized else np.float64
        return self.by_hand.at(point.args, point.d_output, digits)

    def _joined(self, point: Point) -> bool:
        """Whether the program of both is run: it runs longer, which counts where the point is large."""
        return is_small((point.args, point.d_output)) and self.digits(point) == np.float64

    def _both(self, point: Point) -> tuple[Gradient, Gradient]:
        with wide():
            return self.both(*widened((point.args, point.d_output)))


def of(subject: Subject, example: tuple[PyTree, ...]) -> Sides:
    """Both sides of a subject; one program for each shape and dtype."""
    resolved = resolution.of(subject.reference, widened(example))
    reference = Reference(subject.reference, subject.names(len(example)), resolved)
    what = "fwd" if subject.own_forward else "the reference"
    autodiff = _by_autodiff(reference, what)
    by_hand, mapped, digits = _by_hand(subject, reference.names)
    return Sides(reference, by_hand, autodiff, _both(by_hand, autodiff), mapped, digits)


@functools.lru_cache(maxsize=32)
def _by_hand(
    subject: Subject, names: tuple[str, ...]
) -> tuple[Programs, Programs, Callable[..., np.dtype | None]]:
    def manual(args: tuple[PyTree, ...], d_output: PyTree) -> Gradient:
        output, cotangents = subject.run(args, d_output)
        return output, match(args, cotangents, names).right

    @functools.lru_cache(maxsize=32)
    def of_shapes(tree: Any, leaves: tuple[jax.ShapeDtypeStruct, ...]) -> np.dtype | None:
        return resolution.coarsest_inside(manual, *jax.tree.unflatten(tree, leaves))

    def digits(*given: PyTree) -> np.dtype | None:
        leaves, tree = jax.tree.flatten(given)
        return of_shapes(tree, tuple(jax.ShapeDtypeStruct(np.shape(x), dtype_of(x)) for x in leaves))

    return _programs(manual), _programs(jax.vmap(manual)), digits


@functools.lru_cache(maxsize=32)
def _by_autodiff(reference: Reference, what: str) -> Programs:
    """One program for all backward passes that are held against the same reference."""

    def autodiff(args: tuple[PyTree, ...], d_output: PyTree) -> Gradient:
        try:
            return reference.differentiated(args, d_output)
        except Exception as error:  # of the user's code, or of JAX for what has no derivative
            line = own_line(error)
            where = f" ({line})" if line else ""
            raise TypeError(f"verify: JAX cannot differentiate {what}: {message(error)}{where}") from error

    return _programs(autodiff)


@functools.lru_cache(maxsize=32)
def _both(by_hand: Programs, by_autodiff: Programs) -> Programs:
    hand, autodiff = by_hand.optimized.jitted, by_autodiff.optimized.jitted
    return _programs(lambda args, d_output: (hand(args, d_output), autodiff(args, d_output)))


def _programs(function: Callable[..., Any]) -> Programs:
    return Programs(Program(function), Seldom(function), otherwise(function))
