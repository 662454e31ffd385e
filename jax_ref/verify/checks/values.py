"""A look at one point: both sides compared, with what rounding may do, without what lies at a kink."""

import jax.numpy as jnp
import numpy as np

from jax_ref.verify.comparison import kinks, rounding
from jax_ref.verify.comparison.compare import Compared, Seen, compare
from jax_ref.verify.points.point import Point
from jax_ref.verify.session import Session
from jax_ref.verify.trees import widened


def look(session: Session, point: Point) -> tuple[list[Compared], Seen, list[str]]:
    """The output's leaves, the cotangents, and a line for each of these that is undecided."""
    outputs, cotangents = compare(session.both, point, session.rng)
    if any(c.wrong for c in (*outputs, *cotangents.values())):
        outputs, cotangents = rounding.allowed_for(
            session.subject.reference,
            point,
            session.names,
            session.rng,
            session.both.resolution,
            outputs,
            cotangents,
        )
    unit = float(jnp.finfo(session.both.resolution.dtype).eps)
    decided, undecided = {}, []
    for path, c in cotangents.items():
        if c.wrong and session.options.kinks == "undecided":
            kink = kinks.undecided(session.subject.reference, session.names, point, path, c, unit)
            if kink.any():
                first = tuple(map(int, np.argwhere(kink)[0]))
                undecided.append(
                    f"{path}{list(first)} ({point.name}): the reference has a kink there; found "
                    f"{c.actual[first]:.6g}, autodiff {c.exact[first]:.6g}"
                )
                c = c._replace(actual=np.where(kink, c.exact, c.actual))
        decided[path] = c
    return outputs, Seen(point, decided), undecided


def in_float64(session: Session, seen: Seen) -> Seen | None:
    """The same point in float64, where it was in another dtype; None where the functions do not take that."""
    args, d_output = widened((seen.point.args, seen.point.d_output))
    try:
        finer = look(session, seen.point._replace(args=args, d_output=d_output))[1]
    except Exception:  # of the user's code, which may be made for one dtype only
        return None
    return finer if finer.cotangents.keys() == seen.cotangents.keys() else None
