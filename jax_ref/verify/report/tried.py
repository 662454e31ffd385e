"""The line at the end of a report: what was tried."""

from collections.abc import Iterable

import jax
import numpy as np

from jax_ref.verify.points import batches
from jax_ref.verify.session import Session
from jax_ref.verify.trees import floats

LINEARITY = 8
"""Cotangents that a check of linearity draws or makes of two."""


def line(session: Session) -> str:
    """Points, cotangents, batch sizes, dtypes, transforms, seconds."""
    seen = session.seen
    cotangents = len(seen) + (LINEARITY if session.options.does("linearity") and seen else 0)
    dtypes = dict.fromkeys(str(x.dtype) for s in seen for x in floats(s.point.args))
    wider = dict.fromkeys(str(x.dtype) for s in seen if s.wider for x in floats(s.wider.point.args))
    parts = [
        _several(len(seen), "point"),
        _several(cotangents, "cotangent"),
        f"batch sizes {_listed(sizes)}" if (sizes := _sizes(session)) else "no other batch size",
        _listed(dtypes | wider),
        _listed(session.transforms) or "no transform",
        f"{session.clock.seconds:.1f} s",
    ]
    return ", ".join(part for part in parts if part)


def _sizes(session: Session) -> list[int]:
    """The lengths of the leading axis that the leaves of a batch have, where it has more than one."""
    if not session.options.does("batches") or not session.seen:
        return []
    reference = session.subject.reference
    args = session.seen[0].point.args
    batched = batches.group(reference, args) or batches.summed(reference, args)
    sizes = (
        {np.shape(jax.tree.leaves(s.point.args)[batched[0]])[0] for s in session.seen} if batched else set()
    )
    return sorted(sizes) if len(sizes) > 1 else []


def _several(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _listed(items: Iterable[object]) -> str:
    words = [str(item) for item in items]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
