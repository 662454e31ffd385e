"""The gradient of the gradient: cotangents as functions of the arguments and of the cotangent of the output.

The backward pass is differentiated by JAX, as it is where a user takes a Hessian, and held against the
second derivative of the reference. What is a right gradient may have a wrong one itself: a residual that is
taken for a constant, or a `stop_gradient` in the backward.
"""

from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.clock import Clock
from jax_ref.verify.findings import Finding, Report
from jax_ref.verify.options import Options
from jax_ref.verify.oracle import value_and_vjp, x64_for
from jax_ref.verify.points.point import cotangent
from jax_ref.verify.report import assemble, reproduce
from jax_ref.verify.runner import run_checks
from jax_ref.verify.structure import match
from jax_ref.verify.subject import Subject
from jax_ref.verify.trees import floats, is_floating, labelled

NOT_HERE = dict.fromkeys(
    ("transforms", "devices", "reference", "linearity"), "of the gradient of the gradient"
)
"""Parts that say nothing new of it."""

OF = "the gradient of the gradient"


def added(
    subject: Subject, examples: list[tuple[PyTree, ...]], options: Options, report: Report, clock: Clock
) -> Report:
    """The report with what is found of the second order, where nothing is wrong with the first."""
    if not report.ok:
        note = f"not tried: {OF}: the gradient itself is wrong"
        return report._replace(notes=(*report.notes, note))
    if clock.over:
        return report._replace(notes=(*report.notes, f"not tried: {OF}: the time_limit was over"))
    clock.show(f"{subject.name}: {OF}")
    rng = np.random.default_rng(options.seed)
    with x64_for(examples[0]):
        several = [
            (*args, _floating(cotangent(jax.eval_shape(subject.reference, *args), rng))) for args in examples
        ]
    second = _subject(subject, len(examples[0]))
    asked = options._replace(order=1, domain=_domain(options), skip={**options.skip, **NOT_HERE})
    found = assemble.report(run_checks(second, several, asked, clock), several)
    return report._replace(
        leaves=(*report.leaves, *(leaf._replace(path=f"{leaf.path}, 2nd order") for leaf in found.leaves)),
        findings=tuple(_named(f, subject, options, i) for i, f in enumerate(found.findings)),
        undecided=(*report.undecided, *(f"{OF}: {line}" for line in found.undecided)),
        notes=(*report.notes, *(f"{OF}: {n}" for n in found.notes if not n.startswith("left out"))),
        imprecise=(*report.imprecise, *(f._replace(text=f"{OF}: {f.text}") for f in found.imprecise)),
    )


def _named(finding: Finding, subject: Subject, options: Options, number: int) -> Finding:
    """The finding in the first function's words: its arguments are those without the cotangent."""
    args = finding.example[:-1]
    line = reproduce.line(subject, args, options, number)
    return finding._replace(text=f"{OF}: {finding.text}", example=args, line=line)


def _domain(options: Options) -> Any:
    """That of the arguments, with any cotangent."""
    inside = options.domain
    if not callable(inside):
        return inside

    def with_cotangent(*given: PyTree) -> PyTree:
        made = inside(*given[:-1])
        return (*(made if isinstance(made, tuple) else (made,)), given[-1])

    return with_cotangent


def _floating(d_output: PyTree) -> PyTree:
    """The cotangent without entries for integers: it is an argument now, and these have none."""
    return d_output if all(map(is_floating, jax.tree.leaves(d_output))) else floats(d_output)


def _subject(subject: Subject, count: int) -> Subject:
    """The cotangents as a function of the arguments and the cotangent of the output."""
    names = subject.names(count)

    def whole(args: tuple[PyTree, ...], d_output: PyTree) -> PyTree:
        """The cotangent with zeros of float0 for what is not of floating point."""
        leaves, tree = jax.tree.flatten(jax.eval_shape(subject.reference, *args))
        given = iter(jax.tree.leaves(d_output))
        return jax.tree.unflatten(
            tree, [next(given) if is_floating(x) else np.zeros(x.shape, jax.dtypes.float0) for x in leaves]
        )

    def by_hand(*given: PyTree) -> PyTree:
        args = given[:-1]
        return match(args, subject.run(args, whole(args, given[-1]))[1], names).right

    def by_autodiff(*given: PyTree) -> PyTree:
        args = given[:-1]
        return labelled(value_and_vjp(subject.reference, args, whole(args, given[-1]))[1], names)

    def run(args: tuple[PyTree, ...], d_output: PyTree) -> tuple[PyTree, Any]:
        return value_and_vjp(by_hand, args, d_output)

    return Subject(
        f"{OF} of {subject.name}",
        by_hand,
        run,
        by_autodiff,
        False,
        lambda n: (*names[: n - 1], "d_output"),
        "",
    )
