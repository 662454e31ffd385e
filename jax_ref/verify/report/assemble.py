"""From what was seen to a report: the worst of every leaf, and what each wrong one is instead."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import PyTree

from jax_ref.verify import diagnosis
from jax_ref.verify.checks import values
from jax_ref.verify.comparison.compare import Compared, Seen
from jax_ref.verify.diagnosis.explanation import Context
from jax_ref.verify.findings import Finding, Leaf, Report, ratio
from jax_ref.verify.points import batches
from jax_ref.verify.session import Session
from jax_ref.verify.trees import dtype_of, is_floating, labelled

NAMED = 3
"""Points named in a finding; of more it says how many there are."""


class Found(NamedTuple):
    """What was computed for other leaves, by the identity of a `Seen`: for diagnosis, and it in float64."""

    kept: dict[int, Any]
    finer: dict[int, Seen | None]


def report(session: Session, examples: list[tuple[PyTree, ...]]) -> Report:
    """A row for each leaf in each dtype it was looked at in."""
    rows = {
        (path, str(dtype_of(leaf))): leaf
        for example in examples
        for path, leaf in labelled(example, session.names).items()
        if is_floating(leaf)
    }
    found = Found({}, {})
    leaves = tuple(_leaf(session, path, dtype, leaf, found) for (path, dtype), leaf in rows.items())
    return Report(
        session.subject.name,
        leaves,
        tuple(session.findings),
        tuple(session.undecided),
        tuple(dict.fromkeys(session.notes)),
    )


def _leaf(session: Session, path: str, dtype: str, leaf: Any, before: Found) -> Leaf:
    """The row of a leaf; its finding is added to those of the session."""
    at = [s for s in session.seen if path in s.cotangents and _dtype(session, s, path) == dtype]
    found = Leaf(path, np.shape(leaf), dtype, float("nan"), float("nan"), "not looked at", "")
    if not at:
        return found
    wrong = [s for s in at if s.cotangents[path].wrong]
    worst = max(at, key=lambda s: ratio(s.cotangents[path].error, s.cotangents[path].bound))
    c = worst.cotangents[path]
    bent = [f for f in session.not_linear if f.path == path]
    named = {f.path for f in session.findings}
    verdict = "wrong" if wrong or bent or path in named else "right"
    if np.size(leaf) and not any(np.any(s.cotangents[path].exact) for s in at):
        session.notes.append(f"degenerate: the gradient of {path} is zero wherever it was looked at")
        verdict = "zero" if verdict == "right" else verdict
    if path not in named and (wrong or bent):
        explained = _explain(session, path, wrong, before) if wrong else bent[0]
        # a term that is added without the cotangent bends it too: the simpler words are the better ones
        session.findings.append(bent[0] if bent and explained.kind == "gradient" else explained)
    return found._replace(error=c.error, bound=c.bound, verdict=verdict, where=_where(worst, c))


def _explain(session: Session, path: str, wrong: list[Seen], before: Found) -> Finding:
    """The finding for a leaf: what it is instead, or where it is wrong."""
    finding = _diagnosed(session, path, wrong, before)._replace(example=wrong[0].point.args)
    places = list(dict.fromkeys(s.point.name for s in wrong))
    if places[0] == "example":
        return finding
    if all(place.startswith("a batch of") for place in places):
        text = f"wrong for {', '.join(places)}, right for the example's: {finding.text}"
        return finding._replace(kind="batch", text=text)
    more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
    return finding._replace(
        text=f"{finding.text} (right at the example, wrong at: {', '.join(places[:NAMED])}{more})"
    )


def _diagnosed(session: Session, path: str, wrong: list[Seen], before: Found) -> Finding:
    """What it is in float64, which tells a mistake from rounding; or in its own dtype, if that says more."""
    group = batches.group(session.subject.reference, wrong[0].point.args)
    context = Context(session.subject.reference, session.names, session.both, group, before.kept)
    worst = wrong[0].cotangents[path]
    narrow = _dtype(session, wrong[0], path) != "float64" and diagnosis.finite(worst)
    finer = [s for s in (_finer(session, seen, before) for seen in wrong) if s] if narrow else []
    still = [s for s in finer if s.cotangents[path].wrong]
    if finer and not still:
        return diagnosis.lost(path, worst, _dtype(session, wrong[0], path))
    found = diagnosis.diagnose(path, still, context) if still else None
    return found if found and found.kind != "gradient" else diagnosis.diagnose(path, wrong, context)


def _finer(session: Session, seen: Seen, before: Found) -> Seen | None:
    if id(seen) not in before.finer:
        before.finer[id(seen)] = values.in_float64(session, seen)
    return before.finer[id(seen)]


def _where(seen: Seen, c: Compared) -> str:
    """The point, and the entry that is furthest off there."""
    off = np.abs(c.actual - c.exact)
    if not c.actual.ndim or not np.any(off > 0):
        return seen.point.name
    entry = np.unravel_index(np.argmax(np.where(np.isnan(off), np.inf, off)), off.shape)
    return f"{seen.point.name} {list(map(int, entry))}"


def _dtype(session: Session, seen: Seen, path: str) -> str:
    return str(dtype_of(labelled(seen.point.args, session.names)[path]))
