"""What will be compiled, before it is run: other threads do it, while the first points are compared."""

import jax
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.checks.transforms import stack
from jax_ref.verify.checks.values import wider_point
from jax_ref.verify.oracle import x64_for
from jax_ref.verify.points import batches
from jax_ref.verify.points.point import EXAMPLE, Point, cotangent
from jax_ref.verify.session import Session


def of_values(session: Session, args: tuple[PyTree, ...], output: PyTree) -> None:
    """Let the workers compile the programs for an example and for its other batches."""
    rng = np.random.default_rng(0)  # of values that only their shapes are read of
    first = Point(EXAMPLE, args, cotangent(output, rng))
    if not session.sides.is_new(first):
        return
    _submit(session, first)
    if session.options.does("batches"):
        for point in batches.resized(session.subject.reference, args, rng):
            if point.d_output is not None:
                _submit(session, point)


def of_transforms(session: Session, args: tuple[PyTree, ...], output: PyTree) -> None:
    """Let the workers compile the mapped program of an example."""
    if session.options.does("transforms"):
        given = args, cotangent(output, np.random.default_rng(0))
        with x64_for(given):
            stacked = jax.tree.map(lambda x: stack(x, x), given)
            session.sides.mapped(stacked).ahead(session.workers, *stacked)


def _submit(session: Session, point: Point) -> None:
    wider = wider_point(session, point)
    for each in (point, wider) if wider else (point,):
        session.sides.ahead(session.workers, each)
