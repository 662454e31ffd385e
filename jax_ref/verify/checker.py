"""The checks in their order, on one subject and one example; what they found is a `Report`."""

from collections.abc import Collection
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify import batches, diagnosis, differences, kinks, linearity, points, tolerance, transforms
from jax_ref.verify.diagnosis import Seen
from jax_ref.verify.evaluate import Compared, Point, Sides, compare, sides
from jax_ref.verify.report import Finding, Leaf, Report
from jax_ref.verify.structure import labelled, match
from jax_ref.verify.subject import Subject, dtype_of, is_floating

QUICK = ("moved",)
LEVELS = {
    "quick": QUICK,
    "default": ("moved", "small", "large", "saturated", "offset", "tiny variance", "rounded", "zero rows"),
    "thorough": tuple(points.LADDER) * 4,
}
"""The rungs of the ladder that each level climbs."""

PARTS = ("forward", "linearity", "ladder", "batches", "transforms", "reference")
"""What can be left out with `skip`."""


class Run(NamedTuple):
    """What the parts of a check share, and what they have found so far."""

    subject: Subject
    names: tuple[str, ...]
    both: Sides
    rng: np.random.Generator
    seen: list[Seen]
    not_linear: list[Finding]
    findings: list[Finding]
    undecided: list[str]
    notes: list[str]


def run_checks(
    subject: Subject,
    examples: list[tuple[PyTree, ...]],
    *,
    seed: int,
    level: str,
    skip: Collection[str],
) -> Report:
    """All the checks on all the examples."""
    names = subject.names(len(examples[0]))
    notes = [f"left out: {part}" for part in skip]
    if subject.own_forward:
        notes.append("no reference was given: the forward pass is its own, and was not checked")
    run = Run(subject, names, sides(subject, names), np.random.default_rng(seed), [], [], [], [], notes)
    for example in examples:
        args = points.spread(example, run.rng)
        output = _structure(run, args)
        if output is not None:
            _values(run, args, output, level, skip)
    return _report(run, examples[0])


def _structure(run: Run, args: tuple[PyTree, ...]) -> PyTree | None:
    """Check trees, shapes and dtypes by tracing; the output's shapes, or None if nothing can be run."""
    found: list[Finding] = []

    def traced(args: tuple[PyTree, ...], d_output: PyTree) -> PyTree:
        output, cotangents = run.subject.run(args, d_output)
        found.extend(match(args, cotangents, run.names)[1])
        return output

    wide = any(dtype_of(x) == np.float64 for x in jax.tree.leaves(args) if is_floating(x))
    with jax.enable_x64(wide or jax.config.read("jax_enable_x64")):
        output = jax.eval_shape(run.subject.reference, *args)
        try:
            own = jax.eval_shape(traced, args, points.cotangent(output, run.rng))
        except Exception as error:  # the user's code may raise anything
            run.findings.append(Finding("raises", "", f"{type(error).__name__}: {error}"))
            return None
    run.findings.extend(found)
    shapes = [jax.tree.map(lambda x: (x.shape, str(x.dtype)), tree) for tree in (own, output)]
    if shapes[0] != shapes[1]:
        text = f"the output has {shapes[0]}; the reference's has {shapes[1]}"
        run.findings.append(Finding("forward", "output", text))
        return None
    return output


def _values(run: Run, args: tuple[PyTree, ...], output: PyTree, level: str, skip: Collection[str]) -> None:
    rungs = QUICK if "ladder" in skip else LEVELS[level]
    climbed = points.climb(args, output, run.rng, rungs)
    for point in climbed:
        _look(run, point, skip)
    base = run.seen[-len(climbed)].cotangents
    right = {path: c for path, c in base.items() if not c.wrong}
    if "linearity" not in skip:
        found = linearity.violations(run.both, climbed[0], base, run.rng)
        run.not_linear.extend(found)
        right = {path: c for path, c in right.items() if path not in {f.path for f in found}}
    if "transforms" not in skip and level != "quick":
        run.findings.extend(transforms.violations(run.subject, run.both, climbed, right, run.names))
    if "batches" not in skip and level != "quick":
        for point in batches.resized(run.subject.reference, args, run.rng):
            _look(run, point, skip)
    if "reference" not in skip and level != "quick":
        _reference(run, climbed[0])


def _look(run: Run, point: Point, skip: Collection[str]) -> None:
    """Compare at one point, and take out what lies at a kink."""
    outputs, cotangents = compare(run.both, point, run.rng)
    for number, c in enumerate(outputs):
        if c.wrong and "forward" not in skip:
            where = f"output[{number}]" if len(outputs) > 1 else "output"
            if where not in {f.path for f in run.findings}:
                text = (
                    f"it differs from the reference's by {c.error:.1e}; allowed {c.bound:.1e} ({point.name})"
                )
                run.findings.append(Finding("forward", where, text))
    decided = {}
    for path, c in cotangents.items():
        if c.wrong:
            kink = kinks.undecided(run.subject.reference, run.names, point, path, c)
            if kink.any():
                first = tuple(map(int, np.argwhere(kink)[0]))
                run.undecided.append(
                    f"{path}{list(first)} ({point.name}): the reference has a kink there; found "
                    f"{c.actual[first]:.6g}, autodiff {c.exact[first]:.6g}"
                )
                c = c._replace(actual=np.where(kink, c.exact, c.actual))
        decided[path] = c
    run.seen.append(Seen(point, decided))


def _reference(run: Run, point: Point) -> None:
    """Whether the reference's derivative by JAX is that of its values."""
    direction = jax.tree.map(
        lambda x: run.rng.normal(size=np.shape(x)) if is_floating(x) else np.zeros(()), point.args
    )
    exact = run.seen[0].cotangents
    along = labelled(direction, run.names)
    if set(exact) != {path for path, x in labelled(point.args, run.names).items() if is_floating(x)}:
        return
    by_autodiff = sum(float(np.vdot(c.exact, along[path])) for path, c in exact.items())
    size = sum(tolerance.size(c.exact) * tolerance.size(along[path]) for path, c in exact.items())
    by_difference, error = differences.slope(run.subject.reference, point, direction)
    if abs(by_difference - by_autodiff) > 20 * error + 1e-6 * size:
        text = (
            f"its derivative by JAX is {by_autodiff:.6g}, that of its values {by_difference:.6g} "
            f"(±{error:.1e}) along a random direction: has it a gradient of its own, or a stop_gradient?"
        )
        run.findings.append(Finding("reference", "", text))


def _report(run: Run, example: tuple[PyTree, ...]) -> Report:
    leaves = []
    named = {f.path for f in run.findings}
    for path, leaf in labelled(example, run.names).items():
        if not is_floating(leaf):
            continue
        at = [s for s in run.seen if path in s.cotangents]
        shape, dtype = np.shape(leaf), str(dtype_of(leaf))
        if not at:
            leaves.append(Leaf(path, shape, dtype, float("nan"), float("nan"), "not looked at", ""))
            continue
        wrong = [s for s in at if s.cotangents[path].wrong]
        worst = max(at, key=lambda s: _ratio(s.cotangents[path]))
        c = worst.cotangents[path]
        bent = [f for f in run.not_linear if f.path == path]
        verdict = "wrong" if wrong or bent or path in named else "right"
        if not any(np.any(s.cotangents[path].exact) for s in at):
            run.notes.append(f"degenerate: the gradient of {path} is zero wherever it was looked at")
            verdict = "zero" if verdict == "right" else verdict
        leaves.append(Leaf(path, shape, dtype, c.error, c.bound, verdict, worst.point.name))
        if path not in named and (wrong or bent):
            explained = _explain(run, path, wrong, at) if wrong else bent[0]
            # a term that is added without the cotangent bends it too: the simpler words are the better ones
            run.findings.append(bent[0] if bent and explained.kind == "gradient" else explained)
    return Report(
        run.subject.name, tuple(leaves), tuple(run.findings), tuple(run.undecided), tuple(run.notes)
    )


def _explain(run: Run, path: str, wrong: list[Seen], at: list[Seen]) -> Finding:
    """The finding for a leaf: what it is instead, or where it is wrong."""
    group = batches.group(run.subject.reference, wrong[0].point.args)
    context = diagnosis.Context(run.subject.reference, run.names, group)
    finding = diagnosis.diagnose(path, wrong[:2], context)
    places = [s.point.name for s in wrong]
    if len(wrong) == len(at):
        return finding
    if all(place.startswith("a batch of") for place in places):
        return Finding(
            "batch", path, f"wrong for {', '.join(places)}, right for the example's: {finding.text}"
        )
    return finding._replace(text=f"{finding.text} (at: {', '.join(dict.fromkeys(places))})")


def _ratio(c: Compared) -> float:
    return c.error / c.bound if c.bound > 0 else (0.0 if c.error == 0 else float("inf"))
