"""The sequence of the checks on one subject and its examples."""

import jax
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.checks import linearity, reference, transforms, values
from jax_ref.verify.comparison import allowances, resolution, sides
from jax_ref.verify.comparison.compare import Seen
from jax_ref.verify.findings import Finding
from jax_ref.verify.options import LEVELS, QUICK, Options
from jax_ref.verify.oracle import x64_for
from jax_ref.verify.points import batches, integers
from jax_ref.verify.points.climb import climb
from jax_ref.verify.points.ladder import spread
from jax_ref.verify.points.point import Point, cotangent
from jax_ref.verify.session import Session
from jax_ref.verify.structure import match
from jax_ref.verify.subject import Subject
from jax_ref.verify.trees import is_floating

TRACED = (jax.errors.JAXTypeError, jax.errors.JAXIndexError)
"""What JAX raises where a traced value is used as a plain one."""


def run_checks(subject: Subject, examples: list[tuple[PyTree, ...]], options: Options) -> Session:
    """All the checks on all the examples; those that see no values on the first alone."""
    rng = np.random.default_rng(options.seed)
    session = Session(subject, options, sides.of(subject, examples[0]), rng, notes=_notes(subject, options))
    session.notes.extend(resolution.notes(session.sides.reference.resolution))
    for number, example in enumerate(examples):
        args = spread(example, session.rng)
        output = _structure(session, args)
        if output is not None:
            climbed = _values(session, args, output)
            if number == 0:
                _behaviour(session, climbed)
    _absent(session, examples[0])
    session.notes.extend(
        f"not judged at {', '.join(dict.fromkeys(points))}: {why}" for why, points in session.unjudged.items()
    )
    return session


def _absent(session: Session, example: tuple[PyTree, ...]) -> None:
    """A None where the reference has a gradient is a finding; where it is zero, a note."""
    for path in sorted(session.absent):
        exact = [s.cotangents[path].exact for s in session.seen if path in s.cotangents]
        if any(np.any(x[np.isfinite(x)]) for x in exact) or not exact:
            text = "the cotangent is None, which JAX takes for zero; expected an array"
            session.findings.append(Finding("structure", path, text, example))
        else:
            session.notes.append(f"None is returned for {path}, whose gradient by the reference is zero")


def _notes(subject: Subject, options: Options) -> list[str]:
    """What is not checked."""
    left_out = [f"left out: {part} ({reason})" for part, reason in options.skip.items()]
    own = "no reference was given: the forward pass is its own, and was not checked"
    return [*left_out, own] if subject.own_forward else left_out


def _structure(session: Session, args: tuple[PyTree, ...]) -> PyTree | None:
    """Check trees, shapes and dtypes by tracing; the output's shapes, or None if nothing can be run."""
    found: list[Finding] = []

    def traced(args: tuple[PyTree, ...], d_output: PyTree) -> PyTree:
        output, cotangents = session.subject.run(args, d_output)
        matched = match(args, cotangents, session.names)
        found.extend(matched.findings)
        session.absent.update(matched.absent)
        return output

    with x64_for(args):
        output = _shapes(session.subject, args)
        if not any(map(is_floating, jax.tree.leaves(output))):
            raise TypeError("verify: no output is of floating point; expected one, to differentiate")
        try:
            own = jax.eval_shape(session.subject.forward, *args)
            found = _another_output(own, output)
            if not found:
                jax.eval_shape(traced, args, cotangent(output, session.rng))
        except Exception as error:  # the user's code may raise anything
            session.findings.append(Finding("raises", "", _told(error), args))
            return None
    session.findings.extend(f._replace(example=args) for f in found)
    return None if "forward" in {f.kind for f in found} else output


def _another_output(own: PyTree, reference: PyTree) -> list[Finding]:
    """A finding unless both have the same tree, shapes and dtypes."""
    shapes = [jax.tree.map(lambda x: (x.shape, str(x.dtype)), tree) for tree in (own, reference)]
    text = f"the output has {shapes[0]}; the reference's has {shapes[1]}"
    return [] if shapes[0] == shapes[1] else [Finding("forward", "output", text)]


def _shapes(subject: Subject, args: tuple[PyTree, ...]) -> PyTree:
    """The reference's output, traced."""
    try:
        return jax.eval_shape(subject.reference, *args)
    except Exception as error:
        what = "fwd" if subject.own_forward else "the reference"
        raise TypeError(
            f"verify: {what} could not be called with the {len(args)} arguments of the example: "
            f"{_told(error)}"
        ) from error


def _told(error: Exception) -> str:
    """An error in a line or more; of one that comes of tracing, what to do."""
    text = f"{type(error).__name__}: {error}"
    if not isinstance(error, TRACED):
        return text
    return (
        f"{text}\nArguments are traced: bind what must be a plain value with functools.partial, and compute "
        "with jax.numpy."
    )


def _values(session: Session, args: tuple[PyTree, ...], output: PyTree) -> list[Seen]:
    """Compare on the ladder, for other cotangents and other batch sizes; what was seen on the ladder."""
    options = session.options
    rungs = QUICK if "ladder" in options.skip else LEVELS[options.level]
    rungs = tuple(rung for rung in rungs if rung != "other integers" or options.does("integers"))
    climbed = [_evaluate(session, point) for point in climb(args, output, session.rng, rungs)]
    if options.does("linearity"):
        found = linearity.violations(session.sides, climbed[0], session.rng)
        session.not_linear.extend(f._replace(example=args) for f in found)
    if options.does("batches"):
        resized = batches.resized(session.subject.reference, args, session.rng)
        for point in resized:
            _evaluate(session, point)
        if not resized:
            session.notes.append("no batch axis was found: the sizes are those of the example")
    return climbed


def _evaluate(session: Session, point: Point) -> Seen:
    """Compare at one point; the first difference of each leaf of the output is a finding."""
    evaluation = values.evaluate(session, point)
    if point.name in integers.IDS and values.is_forward_wrong(evaluation):
        session.unjudged.setdefault(values.INVALID, []).append(point.name)
        return evaluation.seen
    if session.options.does("forward"):
        wrong, imprecise = values.violations(evaluation, session.options.precision)
        _first(session.findings, wrong)
        _first(session.imprecise, imprecise)
    if evaluation.ties and session.options.does("reference"):
        _first(session.findings, reference.of_ties(point, evaluation.ties))
    for reason in evaluation.unjudged:
        session.unjudged.setdefault(reason, []).append(point.name)
    session.undecided.extend(evaluation.undecided)
    session.seen.append(evaluation.seen)
    return evaluation.seen


def _first(findings: list[Finding], found: list[Finding]) -> None:
    """Add what is found of a leaf that nothing has been found of."""
    named = {f.path for f in findings}
    findings.extend(f for f in found if f.path not in named)


def _behaviour(session: Session, climbed: list[Seen]) -> None:
    """Check the pair under transforms, and the derivative of the reference against its values."""
    not_linear = {f.path for f in session.not_linear}

    def allowed(seen: Seen, path: str, distance: float) -> float:
        """Four times the bound; what is wrong anyhow may differ as it likes."""
        c = seen.cotangents.get(path)
        if c is None or seen.verdict(path) == "wrong" or path in not_linear:
            return float("inf")
        if distance > 4 * c.bound:
            c = allowances.of_transforms(session.sides, seen.point, session.rng, path, c)
        return 4 * c.bound

    first = climbed[0].point
    if session.options.does("transforms"):
        found = transforms.violations(session.subject, session.sides, climbed[:2], allowed)
        session.findings.extend(f._replace(example=first.args) for f in found)
    named = any(f.kind == "reference" for f in session.findings)
    if session.options.does("reference") and not named:
        with np.errstate(all="ignore"):  # an output may be infinite, where something is masked
            session.findings.extend(reference.violations(session.sides, first, session.rng))
