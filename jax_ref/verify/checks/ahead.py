"""What will be compiled, before it is run: other threads do it, while the first points are compared."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.checks.transforms import stack
from jax_ref.verify.checks.values import wider_point
from jax_ref.verify.oracle import x64_for
from jax_ref.verify.points import batches
from jax_ref.verify.points.point import EXAMPLE, Point, cotangent
from jax_ref.verify.session import Session

WORKERS = 2
"""Threads: XLA compiles a program in one, and few machines have fewer than two cores."""


@contextlib.contextmanager
def compiled(session: Session, args: tuple[PyTree, ...], output: PyTree) -> Iterator[None]:
    """A context within which the programs for an example and for its other batches are compiled."""
    rng = np.random.default_rng(0)  # of values that only their shapes are read of
    first = Point(EXAMPLE, args, cotangent(output, rng))
    if not session.sides.is_new(first):
        yield
        return
    workers = ThreadPoolExecutor(WORKERS, "verify")
    try:
        _submit(session, workers, first)
        if session.options.does("batches"):
            for point in batches.resized(session.subject.reference, args, rng):
                if point.d_output is not None:
                    _submit(session, workers, point)
        if session.options.does("transforms"):
            with x64_for((args, first.d_output)):
                stacked = jax.tree.map(lambda x: stack(x, x), (args, first.d_output))
                session.sides.by_hand_mapped.at(*stacked).ahead(workers, *stacked)
        yield
    finally:
        workers.shutdown(wait=False, cancel_futures=True)


def _submit(session: Session, workers: ThreadPoolExecutor, point: Point) -> None:
    wider = wider_point(session, point)
    for each in (point, wider) if wider else (point,):
        session.sides.ahead(workers, each)
