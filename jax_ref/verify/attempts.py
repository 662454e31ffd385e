"""Attempts at points of the verifier's own making, which the user's code may not have been made for.

What raises there is told and not raised: where the forward pass or the reference does not take a size, a
dtype or a value, the point is left out with a note; where the backward alone does not, it is a finding.
"""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import PyTree

from jax_ref.verify.comparison.compare import Seen
from jax_ref.verify.findings import Finding
from jax_ref.verify.oracle import wide, x64_for
from jax_ref.verify.points.point import BATCH, EXAMPLE, Point
from jax_ref.verify.program.raised import told
from jax_ref.verify.session import Session
from jax_ref.verify.structure import match
from jax_ref.verify.trees import is_floating, widened


def seen_at(session: Session, point: Point, evaluate: Callable[[Session, Point], Seen]) -> Seen | None:
    """What is seen at a point; None where it is not tried, or raises."""
    first = not session.seen
    if session.clock.over and not first:
        session.left.append(point.name)
        return None
    session.clock.show(f"{session.subject.name} at {point.name}")
    try:
        seen = evaluate(session, point)
    except Exception as error:  # the user's code may raise anything
        _raised(session, point, error)
        return None
    if point.resized:
        session.findings.extend(_misshapen(session, point, seen))
    return seen


def tried(session: Session, what: str, check: Callable[[], list[Finding]]) -> list[Finding]:
    """What a check finds; a note where it raises, or where the time is over."""
    if session.clock.over:
        session.left.append(what)
        return []
    session.clock.show(f"{session.subject.name}: {what}")
    try:
        return check()
    except Exception as error:  # the user's code may raise anything
        session.notes.append(f"not tried: {what}: {told(error)}")
        return []


def another_output(own: PyTree, reference: PyTree) -> list[Finding]:
    """A finding unless both have the same tree, shapes and dtypes."""
    shapes = [jax.tree.map(lambda x: (x.shape, str(x.dtype)), tree) for tree in (own, reference)]
    text = f"the output has {shapes[0]}; the reference's has {shapes[1]}"
    return [] if shapes[0] == shapes[1] else [Finding("forward", "output", text)]


def _raised(session: Session, point: Point, error: Exception) -> None:
    """Tell what raises at a point: the reference, the forward pass, or the backward alone."""
    sides, subject = session.sides, session.subject
    args, d_output = point.args, point.d_output

    def reference() -> Any:
        if d_output is None:
            return jax.eval_shape(subject.reference, *args)
        if sides.reference.resolution.own:
            return sides.own(point)
        with wide():
            return sides.by_autodiff(*widened((args, d_output)))

    def forward() -> Any:
        with x64_for(args):
            return jax.jit(subject.forward)(*args)

    def backward() -> Any:
        with x64_for((args, d_output)):
            return sides.by_hand(args, d_output)

    of_reference, of_forward = _error(reference), _error(forward)
    if point.name == EXAMPLE and of_reference:
        if str(error).startswith("verify:"):
            raise error
        raise TypeError(f"verify: the reference raises at the example: {told(of_reference)}") from error
    if point.name == EXAMPLE and of_forward:
        session.findings.append(Finding("raises", "", f"fwd raises at the example: {told(of_forward)}", args))
        return
    if of_reference or of_forward:
        who = "the reference" if of_reference and not subject.own_forward else "fwd"
        raising = told(of_reference or of_forward or error)
        session.untried.setdefault(f"{who} raises {raising}", []).append(_place(point))
        return
    with x64_for(args):
        shapes = [jax.eval_shape(f, *args) for f in (subject.forward, subject.reference)]
    other = another_output(*shapes)
    of_backward = _error(backward)
    if other:
        session.findings.extend(f._replace(text=f"{f.text} ({point.name})", example=args) for f in other)
    elif of_backward:
        batch = point.resized
        where = f"raises {'for' if batch else 'at'} {point.name}"
        _found(session, Finding("batch" if batch else "raises", "", f"{where}: {told(of_backward)}", args))
    else:
        session.untried.setdefault(told(error), []).append(_place(point))


def _found(session: Session, finding: Finding) -> None:
    """Add a finding; where the same line has raised, the point is told with it."""
    where, _, why = finding.text.partition(": ")
    line = why.rpartition(" (`")[2]
    for i, known in enumerate(session.findings):
        before, _, other = known.text.partition(": ")
        if line and known.kind == finding.kind and other.endswith(line):
            place = where.removeprefix("raises for ").removeprefix("raises at ")
            session.findings[i] = known._replace(text=f"{before}, {place}: {other}")
            return
    session.findings.append(finding)


def _error(run: Callable[[], Any]) -> Exception | None:
    """What is raised, also by what runs later."""
    try:
        jax.block_until_ready(run())
    except Exception as error:  # of the user's code, which may raise anything
        return error
    return None


def _place(point: Point) -> str:
    size = point.name.removeprefix(BATCH)
    return point.name if size == point.name else f"{size}: for {point.name}"


def _misshapen(session: Session, point: Point, seen: Seen) -> list[Finding]:
    """What has another shape than it must at another size, and not at the example's."""
    subject, found, args = session.subject, [], point.args

    def traced(args: tuple[PyTree, ...], d_output: PyTree) -> PyTree:
        output, cotangents = subject.run(args, d_output)
        found.extend(match(args, cotangents, session.names).findings)
        return output

    with x64_for((args, point.d_output)):
        expected = jax.eval_shape(subject.reference, *args)
        other = another_output(jax.eval_shape(subject.forward, *args), expected)
        floating = {p for p, x in session.sides.reference.leaves(args).items() if is_floating(x)}
        if floating - seen.cotangents.keys():
            jax.eval_shape(traced, args, point.d_output)
    named = {f.path for f in session.findings}
    return [
        Finding(f.kind if f.kind == "forward" else "batch", f.path, f"for {point.name} {f.text}", args)
        for f in (*other, *found)
        if f.path not in named and not session.mistaken(f.path)  # what is wrong anyhow is told in other words
    ]
