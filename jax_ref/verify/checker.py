"""The checks in their order, on one subject and its examples."""

import jax
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify import (
    batches,
    differences,
    digits,
    linearity,
    points,
    rounding,
    tolerance,
    transforms,
)
from jax_ref.verify.evaluate import Point, in_float64, inner, magnitude, sides, widened, x64_for
from jax_ref.verify.look import look
from jax_ref.verify.oracle import is_floating
from jax_ref.verify.report import Finding
from jax_ref.verify.run import LEVELS, QUICK, Run, Settings
from jax_ref.verify.structure import labelled, match
from jax_ref.verify.subject import Subject


def run_checks(subject: Subject, examples: list[tuple[PyTree, ...]], settings: Settings) -> Run:
    """All the checks on all the examples; those that see no values on the first alone."""
    names = subject.names(len(examples[0]))
    notes = [f"left out: {part} ({reason})" for part, reason in settings.skip.items()]
    if subject.own_forward:
        notes.append("no reference was given: the forward pass is its own, and was not checked")
    rng = np.random.default_rng(settings.seed)
    both = sides(subject, names, examples[0])
    run = Run(subject, settings, names, both, rng, [], [], [], [], notes + digits.notes(both.digits))
    for number, example in enumerate(examples):
        args = points.spread(example, run.rng)
        output = _structure(run, args)
        if output is not None:
            climbed = _values(run, args, output)
            if number == 0:
                _behaviour(run, climbed)
    return run


def _structure(run: Run, args: tuple[PyTree, ...]) -> PyTree | None:
    """Check trees, shapes and dtypes by tracing; the output's shapes, or None if nothing can be run."""
    found: list[Finding] = []

    def traced(args: tuple[PyTree, ...], d_output: PyTree) -> PyTree:
        output, cotangents = run.subject.run(args, d_output)
        found.extend(match(args, cotangents, run.names)[1])
        return output

    with x64_for(args):
        output = _shapes(run, args)
        try:
            own = jax.eval_shape(run.subject.forward, *args)
            found = _another_output(own, output)
            if not found:
                jax.eval_shape(traced, args, points.cotangent(output, run.rng))
        except Exception as error:  # the user's code may raise anything
            run.findings.append(Finding("raises", "", f"{type(error).__name__}: {error}", args))
            return None
    run.findings.extend(f._replace(example=args) for f in found)
    return None if "forward" in {f.kind for f in found} else output


def _another_output(own: PyTree, reference: PyTree) -> list[Finding]:
    """A finding unless both have the same tree, shapes and dtypes."""
    shapes = [jax.tree.map(lambda x: (x.shape, str(x.dtype)), tree) for tree in (own, reference)]
    text = f"the output has {shapes[0]}; the reference's has {shapes[1]}"
    return [] if shapes[0] == shapes[1] else [Finding("forward", "output", text)]


def _shapes(run: Run, args: tuple[PyTree, ...]) -> PyTree:
    """The reference's output, traced."""
    try:
        return jax.eval_shape(run.subject.reference, *args)
    except Exception as error:
        what = "fwd" if run.subject.own_forward else "the reference"
        raise TypeError(
            f"verify: {what} could not be called with the {len(args)} arguments of the example: "
            f"{type(error).__name__}: {error}"
        ) from error


def _values(run: Run, args: tuple[PyTree, ...], output: PyTree) -> list[Point]:
    """Compare on the ladder, for other cotangents and other batch sizes; the points of the ladder."""
    rungs = QUICK if "ladder" in run.settings.skip else LEVELS[run.settings.level]
    climbed = points.climb(args, output, run.rng, rungs)
    for point in climbed:
        _look(run, point)
    if run.settings.does("linearity"):
        base = run.seen[-len(climbed)].cotangents
        found = linearity.violations(run.both, climbed[0], base, run.rng)
        run.not_linear.extend(f._replace(example=args) for f in found)
    if run.settings.does("batches"):
        for point in batches.resized(run.subject.reference, args, run.rng):
            _look(run, point)
    return climbed


def _behaviour(run: Run, climbed: list[Point]) -> None:
    """How the pair behaves under JAX's transforms, and whether the reference is what it says."""
    bent = {f.path for f in run.not_linear}

    def allowed(number: int, path: str, distance: float) -> float:
        """Four times the bound; what is wrong anyhow may differ as it likes."""
        point, seen = run.seen[number].point, run.seen[number].cotangents
        c = seen.get(path)
        if c is None or c.wrong or path in bent:
            return float("inf")
        if distance > 4 * c.bound:
            _, kept = rounding.allowed_for(
                run.subject.reference, point, run.names, run.rng, run.both.digits, [], {path: c}
            )
            c = kept[path]
        return 4 * c.bound

    if run.settings.does("transforms"):
        found = transforms.violations(run.subject, run.both, climbed, allowed, run.names)
        run.findings.extend(f._replace(example=climbed[0].args) for f in found)
    if run.settings.does("reference"):
        with np.errstate(all="ignore"):  # an output may be infinite, where something is masked
            _reference(run, climbed[0])


def _look(run: Run, point: Point) -> None:
    """Look at one point, and note what was seen."""
    outputs, seen, undecided = look(run, point)
    for number, c in enumerate(outputs):
        where = f"output[{number}]" if len(outputs) > 1 else "output"
        if c.wrong and run.settings.does("forward") and where not in {f.path for f in run.findings}:
            text = f"it differs from the reference's by {c.error:.1e}; allowed {c.bound:.1e} ({point.name})"
            run.findings.append(Finding("forward", where, text, point.args))
    run.undecided.extend(undecided)
    run.seen.append(seen)


def _reference(run: Run, point: Point) -> None:
    """Whether the reference's derivative by JAX is that of its values."""
    direction = jax.tree.map(
        lambda x: run.rng.normal(size=np.shape(x)) if is_floating(x) else np.zeros(()), point.args
    )
    output, cotangents = in_float64(run.both, point)
    by_leaf = {path: (np.asarray(c), labelled(direction, run.names)[path]) for path, c in cotangents.items()}
    by_autodiff = sum(float(np.vdot(c, along)) for c, along in by_leaf.values())
    size = sum(tolerance.size(c) * tolerance.size(along) for c, along in by_leaf.values())
    start, d_output = widened((point.args, point.d_output))

    def value(h: float) -> float:
        moved = jax.tree.map(lambda x, dx: x + h * dx if is_floating(x) else x, start, direction)
        return float(inner(widened(in_float64(run.both, Point("", moved, d_output))[0]), d_output))

    terms = jax.tree.map(magnitude, (widened(output), d_output))
    by_difference, error = differences.slope(value, float(inner(*terms)))
    if abs(by_difference - by_autodiff) > 20 * error + 1e-6 * size:
        text = (
            f"its derivative by JAX is {by_autodiff:.6g}, that of its values {by_difference:.6g} "
            f"(±{error:.1e}) along a random direction: has it a gradient of its own, or a stop_gradient?"
        )
        run.findings.append(Finding("reference", "", text, point.args))
