"""Assembly of the report: the worst that was seen of every leaf, and what each wrong one is instead."""

from typing import NamedTuple

import numpy as np
from jaxtyping import PyTree

from jax_ref.verify import diagnosis
from jax_ref.verify.comparison.compare import Compared, Seen
from jax_ref.verify.diagnosis.explanation import Context
from jax_ref.verify.findings import IMPRECISE, Finding, Leaf, Report, ratio
from jax_ref.verify.points import batches
from jax_ref.verify.report import tried
from jax_ref.verify.session import Session
from jax_ref.verify.trees import dtype_of, is_floating

NAMED = 3
"""Points named in a finding; of more it says how many there are."""


class Evidence(NamedTuple):
    """What was seen of a leaf in one dtype: everywhere, where wrong, where imprecise; how not linear."""

    path: str
    dtype: str
    seen: list[Seen]
    wrong: list[Seen]
    imprecise: list[Seen]
    not_linear: list[Finding]

    @property
    def verdict(self) -> str:
        """The worst that was found."""
        if self.wrong or self.not_linear:
            return "wrong"
        if self.imprecise:
            return IMPRECISE
        zero = any(s.cotangents[self.path].exact.size for s in self.seen) and _is_zero(self)
        return "zero" if zero else "right"


def report(session: Session, examples: list[tuple[PyTree, ...]]) -> Report:
    """A row for each leaf in each dtype it was looked at in, and a finding for each that is wrong."""
    rows = {
        (path, str(dtype_of(leaf))): np.shape(leaf)
        for example in examples
        for path, leaf in session.sides.reference.leaves(example).items()
        if is_floating(leaf)
    }
    context = diagnosis.context_of(session.sides, session.clock)
    leaves: list[Leaf] = []
    told: set[tuple[str, str]] = set()
    findings, imprecise, notes = list(session.findings), list(session.imprecise), list(session.notes)
    for (path, dtype), shape in rows.items():
        evidence = _evidence(session, path, dtype)
        named = path in {f.path for f in session.findings}
        if not named and (path, evidence.verdict) not in told:  # in one of the dtypes is enough
            told.add((path, evidence.verdict))
            if evidence.verdict == "wrong":
                findings.append(_wrong(session, evidence, context))
            elif evidence.verdict == IMPRECISE:
                at_fault = any(s.faulty(path, session.options.precision) for s in evidence.imprecise)
                (findings if at_fault else imprecise).append(_imprecise(session, evidence))
        if evidence.verdict == "zero" and path not in session.absent:
            notes.append(f"degenerate: the gradient of {path} is zero wherever it was looked at")
        leaves.append(_row(evidence, shape, "wrong" if named else evidence.verdict))
    return Report(
        session.subject.name,
        tuple(leaves),
        tuple(findings),
        tuple(session.undecided),
        tuple(dict.fromkeys(notes)),
        tuple(imprecise),
        tried.line(session),
    )


def _evidence(session: Session, path: str, dtype: str) -> Evidence:
    def dtype_at(s: Seen) -> str:
        return str(dtype_of(session.sides.reference.leaves(s.point.args)[path]))

    seen = [s for s in session.seen if path in s.cotangents and dtype_at(s) == dtype]
    wrong, imprecise = ([s for s in seen if s.verdict(path) == verdict] for verdict in ("wrong", IMPRECISE))
    not_linear = [f for f in session.not_linear if f.path == path and seen]
    return Evidence(path, dtype, seen, wrong, imprecise, not_linear)


def _is_zero(evidence: Evidence) -> bool:
    return not any(np.any(s.cotangents[evidence.path].exact) for s in evidence.seen)


def _row(evidence: Evidence, shape: tuple[int, ...], verdict: str) -> Leaf:
    """The worst that was seen of a leaf: of a wrong one in float64, where only that tells."""
    path, dtype = evidence.path, evidence.dtype
    if not evidence.seen:
        return Leaf(path, shape, dtype, float("nan"), float("nan"), "not looked at", "")
    looks = [(s, s.cotangents[path], "") for s in evidence.seen]
    if evidence.wrong and not any(c.wrong for _, c, _ in looks):
        looks = [(s, s.wider.cotangents[path], f", {s.only_in}") for s in evidence.wrong if s.wider]
    worst, c, how = max(looks, key=lambda look: ratio(look[1].error, look[1].bound))
    return Leaf(path, shape, dtype, c.error, c.bound, verdict, _where(worst, c) + how)


def _imprecise(session: Session, evidence: Evidence) -> Finding:
    """How many digits are lost, and where."""
    path, precision = evidence.path, session.options.precision
    at_fault = [s for s in evidence.imprecise if s.faulty(path, precision)] or evidence.imprecise
    worst = max(at_fault, key=lambda s: ratio(s.cotangents[path].error, s.cotangents[path].bound))
    found = diagnosis.lost(path, worst, evidence.dtype)
    return found._replace(text=f"{found.text}{_places(at_fault, IMPRECISE)}", example=worst.point.args)


def _wrong(session: Session, evidence: Evidence, context: Context) -> Finding:
    """What is wrong with a leaf: what it is instead, or how it is not linear."""
    if not evidence.wrong:
        return evidence.not_linear[0]
    explained = _explain(session, evidence, context)
    # a term that is added without the cotangent is not linear either: the simpler words are the better ones
    return evidence.not_linear[0] if evidence.not_linear and explained.kind == "gradient" else explained


def _explain(session: Session, evidence: Evidence, context: Context) -> Finding:
    """What a leaf is instead, or where it is wrong."""
    path, wrong = evidence.path, evidence.wrong
    finding = _diagnosed(session, evidence, context)._replace(example=wrong[0].point.args)
    if wrong[0].only_in and not any(s.cotangents[path].wrong for s in wrong):
        finding = finding._replace(text=f"{finding.text} ({wrong[0].only_in})")
    places = [s.point.name for s in wrong]
    if all(s.point.resized for s in wrong):
        text = f"wrong for {', '.join(dict.fromkeys(places))}, right for the example's: {finding.text}"
        return finding._replace(kind="batch", text=text)
    return finding._replace(text=f"{finding.text}{_places(wrong, 'wrong')}")


def _places(seen: list[Seen], verdict: str) -> str:
    """Where a verdict is, if it is not that at the example."""
    places = list(dict.fromkeys(s.point.name for s in seen))
    if places[0] == "example":
        return ""
    more = f" and {len(places) - NAMED} more" if len(places) > NAMED else ""
    return f" (right at the example, {verdict} at: {', '.join(places[:NAMED])}{more})"


def _diagnosed(session: Session, evidence: Evidence, context: Context) -> Finding:
    """What it is in float64, which tells a mistake from rounding; or in its own dtype, if that says more."""
    path, wrong = evidence.path, evidence.wrong
    if "diagnosis" in session.options.skip:
        return diagnosis.not_explained(path, wrong)
    batched = batches.group(session.subject.reference, wrong[0].point.args)
    context = context._replace(batched=batched)
    finer = [s.wider for s in wrong if s.wider and s.wider.cotangents[path].wrong]
    found = diagnosis.diagnose(path, finer, context) if finer else None
    if found and (found.kind != "gradient" or not any(s.cotangents[path].wrong for s in wrong)):
        return found
    return diagnosis.diagnose(path, wrong, context)


def _where(seen: Seen, c: Compared) -> str:
    """The point, and the entry that is furthest off there."""
    off = np.abs(c.actual - c.exact)
    if not c.actual.ndim or not np.any(off > 0):
        return seen.point.name
    entry = np.unravel_index(np.argmax(np.where(np.isnan(off), np.inf, off)), off.shape)
    return f"{seen.point.name} {list(map(int, entry))}"
