"""Assembly of the report: the worst that was seen of every leaf, and what each wrong one is instead."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import PyTree

from jax_ref.verify import diagnosis
from jax_ref.verify.checks import values
from jax_ref.verify.comparison.compare import Compared, Seen
from jax_ref.verify.diagnosis.explanation import Context
from jax_ref.verify.findings import Finding, Leaf, Report, ratio
from jax_ref.verify.points import batches
from jax_ref.verify.session import Session
from jax_ref.verify.trees import dtype_of, is_floating

NAMED = 3
"""Points named in a finding; of more it says how many there are."""


class Evidence(NamedTuple):
    """What was seen of a leaf in one dtype, at all points and where it was wrong; how it is not linear."""

    path: str
    dtype: str
    seen: list[Seen]
    wrong: list[Seen]
    not_linear: list[Finding]


class Shared(NamedTuple):
    """What is computed at most once for a report: the context of diagnosis, and a point again in float64."""

    context: Context
    in_float64: Callable[[Seen], Seen | None]


def report(session: Session, examples: list[tuple[PyTree, ...]]) -> Report:
    """A row for each leaf in each dtype it was looked at in, and a finding for each that is wrong."""
    rows = {
        (path, str(dtype_of(leaf))): np.shape(leaf)
        for example in examples
        for path, leaf in session.sides.reference.leaves(example).items()
        if is_floating(leaf)
    }
    shared = Shared(
        diagnosis.context_of(session.sides), functools.cache(functools.partial(values.in_float64, session))
    )
    leaves: list[Leaf] = []
    findings, notes = list(session.findings), list(session.notes)
    for (path, dtype), shape in rows.items():
        evidence = _evidence(session, path, dtype)
        named = path in {f.path for f in findings}
        if not named:
            findings.extend(_findings(session, evidence, shared))
        zero = bool(np.prod(shape)) and bool(evidence.seen) and _is_zero(evidence)
        if zero:
            notes.append(f"degenerate: the gradient of {path} is zero wherever it was looked at")
        wrong = named or evidence.wrong or evidence.not_linear
        leaves.append(_row(evidence, shape, "wrong" if wrong else "zero" if zero else "right"))
    unique = tuple(dict.fromkeys(notes))
    return Report(session.subject.name, tuple(leaves), tuple(findings), tuple(session.undecided), unique)


def _evidence(session: Session, path: str, dtype: str) -> Evidence:
    def dtype_at(s: Seen) -> str:
        return str(dtype_of(session.sides.reference.leaves(s.point.args)[path]))

    seen = [s for s in session.seen if path in s.cotangents and dtype_at(s) == dtype]
    wrong = [s for s in seen if s.cotangents[path].wrong]
    not_linear = [f for f in session.not_linear if f.path == path and seen]
    return Evidence(path, dtype, seen, wrong, not_linear)


def _is_zero(evidence: Evidence) -> bool:
    return not any(np.any(s.cotangents[evidence.path].exact) for s in evidence.seen)


def _row(evidence: Evidence, shape: tuple[int, ...], verdict: str) -> Leaf:
    """The worst that was seen of a leaf."""
    path, dtype = evidence.path, evidence.dtype
    if not evidence.seen:
        return Leaf(path, shape, dtype, float("nan"), float("nan"), "not looked at", "")
    worst = max(evidence.seen, key=lambda s: ratio(s.cotangents[path].error, s.cotangents[path].bound))
    c = worst.cotangents[path]
    return Leaf(path, shape, dtype, c.error, c.bound, verdict, _where(worst, c))


def _findings(session: Session, evidence: Evidence, shared: Shared) -> list[Finding]:
    """What is wrong with a leaf, if anything: what it is instead, or how it is not linear."""
    if not evidence.wrong:
        return evidence.not_linear[:1]
    explained = _explain(session, evidence, shared)
    # a term that is added without the cotangent is not linear either: the simpler words are the better ones
    return evidence.not_linear[:1] if evidence.not_linear and explained.kind == "gradient" else [explained]


def _explain(session: Session, evidence: Evidence, shared: Shared) -> Finding:
    """What a leaf is instead, or where it is wrong."""
    wrong = evidence.wrong
    finding = _diagnosed(session, evidence, shared)._replace(example=wrong[0].point.args)
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


def _diagnosed(session: Session, evidence: Evidence, shared: Shared) -> Finding:
    """What it is in float64, which tells a mistake from rounding; or in its own dtype, if that says more."""
    path, wrong = evidence.path, evidence.wrong
    batched = batches.group(session.subject.reference, wrong[0].point.args)
    context = shared.context._replace(batched=batched)
    worst = wrong[0].cotangents[path]
    narrow = evidence.dtype != "float64" and diagnosis.finite(worst)
    finer = [s for s in map(shared.in_float64, wrong) if s] if narrow else []
    still = [s for s in finer if s.cotangents[path].wrong]
    if finer and not still:
        return diagnosis.lost(path, worst, evidence.dtype)
    found = diagnosis.diagnose(path, still, context) if still else None
    return found if found and found.kind != "gradient" else diagnosis.diagnose(path, wrong, context)


def _where(seen: Seen, c: Compared) -> str:
    """The point, and the entry that is furthest off there."""
    off = np.abs(c.actual - c.exact)
    if not c.actual.ndim or not np.any(off > 0):
        return seen.point.name
    entry = np.unravel_index(np.argmax(np.where(np.isnan(off), np.inf, off)), off.shape)
    return f"{seen.point.name} {list(map(int, entry))}"
