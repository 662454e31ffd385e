"""Shrinking of counterexamples to fewer entries and rounder values, and the line that shows the finding.

The search runs the quick check itself, so that the line, which runs the same, finds the same.
"""

import functools
import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.clock import Clock
from jax_ref.verify.findings import Finding, Report
from jax_ref.verify.options import PARTS, Domain, Options
from jax_ref.verify.points.domain import within
from jax_ref.verify.report import assemble
from jax_ref.verify.report.reproduce import line
from jax_ref.verify.runner import run_checks
from jax_ref.verify.subject import Subject
from jax_ref.verify.trees import is_floating, is_integer

Args = tuple[PyTree, ...]
Shows = Callable[[Args, Finding], bool]

SIZES = (1, 2, 3)
"""What an axis is cut to, if it is longer."""

TRIES = 8
"""Other shapes tried for a finding, each of which is compiled."""

SHRUNK = 3
"""The most findings that are shrunk; others are shown at an earlier one's input, or where they were found."""

SAID = 2
"""Smaller examples of a finding, of which the first is shown at which the report says the same."""

NUMBER = re.compile(r"\d+(\.\d+)?(e[+-]?\d+)?")
PLACES = re.compile(r" \((right at|seen in) [^()]*\)")
"""What of a sentence may be another for another example: its numbers, and where it holds."""

BEFORE_VALUES = ("structure", "raises", "forward", "transform", "not deterministic", "reference")
"""Kinds that are found as such, not by comparing a cotangent with the oracle's."""

NOT_QUICK = {"transform": "transforms", "not deterministic": "transforms", "reference": "reference"}
"""Kinds that a quick check does not look for, and the part that does."""


def shrunk(subject: Subject, report: Report, options: Options, clock: Clock) -> Report:
    """The report with a smaller example, and the line for it, in each finding."""
    found: list[Finding] = []
    examples: list[Args] = []
    for finding in report.findings:
        asked = _asked(finding, options)
        shows = functools.partial(_shows, subject, asked, clock)
        args, says = finding.example, functools.partial(_says, subject, asked, clock)
        if options.does("shrinking") and not clock.over and shows(args, finding):
            smaller = [example for example in examples if shows(example, finding)][:1]
            if not smaller and len(examples) < SHRUNK:
                smaller = _smaller(subject, finding, shows, options.domain)
                examples.append(smaller[0])
            larger = (e for e in _of_three(subject, args, options.domain) if shows(e, finding))
            tried = itertools.chain(smaller[:SAID], larger, [args])
            same = next((example for example in tried if says(example, finding)), None)
            args, asked = (args, options) if same is None else (same, asked)
        else:
            asked = options
        if asked.level == options.level:
            asked = options  # what the search left out does no harm in the line
        text = line(subject, args, asked, len(found))
        found.append(finding._replace(example=args, line=text))
    return report._replace(findings=tuple(found))


def _asked(finding: Finding, options: Options) -> Options:
    """The shortest check that looks for such a finding."""
    if finding.kind not in NOT_QUICK:
        return options._replace(level="quick")
    others = {part: "not needed here" for part in PARTS if part != NOT_QUICK[finding.kind]}
    return options._replace(level="default", skip=others)


def _shows(subject: Subject, options: Options, clock: Clock, args: Args, finding: Finding) -> bool:
    """Whether the check finds something wrong with the leaf there too, whatever that is called."""
    try:
        session = run_checks(subject, [args], options, clock)
    except Exception:  # arguments that the functions were not made for
        return False
    named = (finding.kind, finding.path) in {(f.kind, f.path) for f in session.findings}
    if finding.kind in BEFORE_VALUES or named:
        return named
    misshapen = any(f.kind == "structure" and f.path == finding.path for f in session.findings)
    wrong = session.wrong if finding.kind == "precision" else session.mistaken
    return wrong(finding.path) and not misshapen


def _says(subject: Subject, options: Options, clock: Clock, args: Args, finding: Finding) -> bool:
    """Whether the report there has the same sentence, but for the numbers in it and the names of the points.

    What explains a few entries may be another mistake than the one that explains them all.
    """
    if finding.kind in BEFORE_VALUES:
        return True
    report = assemble.report(run_checks(subject, [args], options, clock), [args])
    found = [f for f in (*report.findings, *report.imprecise) if f.path == finding.path]
    return any(_sentence(f.text) in _sentence(finding.text) for f in found)


def _sentence(text: str) -> str:
    return NUMBER.sub("0", PLACES.sub("", text))


def _smaller(subject: Subject, finding: Finding, shows: Shows, domain: Domain | None) -> list[Args]:
    """A greedy search: axes are cut while the finding shows, then the entries are rounded; smallest first."""
    args, tries = finding.example, 0
    sizes = sorted({n for x in jax.tree.leaves(args) for n in np.shape(x)}, reverse=True)
    proposals = [{n: 2 for n in sizes if n > 2}, *({n: size} for n in sizes for size in SIZES if size < n)]
    done: set[int] = set()
    inside = functools.partial(within, domain, names=subject.names(len(args)))
    for proposal in proposals:
        if tries == TRIES or not proposal or done & set(proposal):
            continue
        cut = jax.tree.map(lambda x, p=proposal: _cut(x, p), args)
        if not _fits(subject, cut):
            continue
        cut = inside(cut)
        tries += 1
        if shows(cut, finding):
            args = cut
            done |= set(proposal)
    for decimals in (0, 1):
        rounded = inside(jax.tree.map(lambda x, d=decimals: _rounded(x, d), args))
        if shows(rounded, finding):
            return [rounded, args]
    return [args]


def _of_three(subject: Subject, args: Args, domain: Domain | None) -> Iterator[Args]:
    """The example with axes of three at most, rounded: of two, too many explanations hold by chance."""
    cut = jax.tree.map(lambda x: _cut(x, {n: 3 for n in np.shape(x) if n > 3}), args)
    if _fits(subject, cut):
        yield within(domain, jax.tree.map(lambda x: _rounded(x, 1), cut), names=subject.names(len(args)))


def _fits(subject: Subject, args: Args) -> bool:
    """Whether the reference takes the shapes, and its output has entries."""
    try:
        output = jax.eval_shape(subject.reference, *args)
    except Exception:  # whatever a function raises for shapes that it cannot take
        return False
    return all(n > 0 for leaf in jax.tree.leaves(output) for n in leaf.shape)


def _cut(x: Any, sizes: dict[int, int]) -> Any:
    """The first entries along each axis whose length is named; ids and labels stay in the range."""
    if not hasattr(x, "shape") or jnp.issubdtype(x.dtype, jax.dtypes.extended):
        return x
    small = x[tuple(slice(sizes.get(n, n)) for n in x.shape)]
    if is_integer(x):
        for n, size in sizes.items():
            if small.size and small.min() >= 0 and small.max() < n:
                small = small % size
    return small


def _rounded(x: Any, decimals: int) -> Any:
    return (np.round(x.astype(np.float64), decimals) + 0.0).astype(x.dtype) if is_floating(x) else x  # no -0
