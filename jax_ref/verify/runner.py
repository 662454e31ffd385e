"""The checks in their order, on one subject and its examples."""

import jax
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.checks import linearity, reference, transforms
from jax_ref.verify.checks.values import look
from jax_ref.verify.comparison import resolution, rounding
from jax_ref.verify.comparison.sides import sides
from jax_ref.verify.findings import Finding
from jax_ref.verify.options import LEVELS, QUICK, Options
from jax_ref.verify.oracle import x64_for
from jax_ref.verify.points import batches
from jax_ref.verify.points.point import Point, climb, cotangent, spread
from jax_ref.verify.session import Session
from jax_ref.verify.structure import match
from jax_ref.verify.subject import Subject
from jax_ref.verify.trees import is_floating

TRACED = (jax.errors.JAXTypeError, jax.errors.JAXIndexError)
"""What JAX raises where a traced value is used as a plain one."""


def run_checks(subject: Subject, examples: list[tuple[PyTree, ...]], options: Options) -> Session:
    """All the checks on all the examples; those that see no values on the first alone."""
    names = subject.names(len(examples[0]))
    notes = [f"left out: {part} ({reason})" for part, reason in options.skip.items()]
    if subject.own_forward:
        notes.append("no reference was given: the forward pass is its own, and was not checked")
    rng = np.random.default_rng(options.seed)
    both = sides(subject, names, examples[0])
    notes += resolution.notes(both.resolution)
    session = Session(subject, options, names, both, rng, notes=notes)
    for number, example in enumerate(examples):
        args = spread(example, session.rng)
        output = _structure(session, args)
        if output is not None:
            climbed = _values(session, args, output)
            if number == 0:
                _behaviour(session, climbed)
    return session


def _structure(session: Session, args: tuple[PyTree, ...]) -> PyTree | None:
    """Check trees, shapes and dtypes by tracing; the output's shapes, or None if nothing can be run."""
    found: list[Finding] = []

    def traced(args: tuple[PyTree, ...], d_output: PyTree) -> PyTree:
        output, cotangents = session.subject.run(args, d_output)
        found.extend(match(args, cotangents, session.names)[1])
        return output

    with x64_for(args):
        output = _shapes(session, args)
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


def _shapes(session: Session, args: tuple[PyTree, ...]) -> PyTree:
    """The reference's output, traced."""
    try:
        return jax.eval_shape(session.subject.reference, *args)
    except Exception as error:
        what = "fwd" if session.subject.own_forward else "the reference"
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


def _values(session: Session, args: tuple[PyTree, ...], output: PyTree) -> list[Point]:
    """Compare on the ladder, for other cotangents and other batch sizes; the points of the ladder."""
    rungs = QUICK if "ladder" in session.options.skip else LEVELS[session.options.level]
    climbed = climb(args, output, session.rng, rungs)
    for point in climbed:
        _look(session, point)
    if session.options.does("linearity"):
        base = session.seen[-len(climbed)].cotangents
        found = linearity.violations(session.both, climbed[0], base, session.rng)
        session.not_linear.extend(f._replace(example=args) for f in found)
    if session.options.does("batches"):
        resized = batches.resized(session.subject.reference, args, session.rng)
        for point in resized:
            _look(session, point)
        if not resized:
            session.notes.append("no batch axis was found: the sizes are those of the example")
    return climbed


def _behaviour(session: Session, climbed: list[Point]) -> None:
    """How the pair behaves under JAX's transforms, and whether the reference is what it says."""
    bent = {f.path for f in session.not_linear}

    def allowed(number: int, path: str, distance: float) -> float:
        """Four times the bound; what is wrong anyhow may differ as it likes."""
        point, seen = session.seen[number].point, session.seen[number].cotangents
        c = seen.get(path)
        if c is None or c.wrong or path in bent:
            return float("inf")
        if distance > 4 * c.bound:
            _, kept = rounding.allowed_for(
                session.subject.reference,
                point,
                session.names,
                session.rng,
                session.both.resolution,
                [],
                {path: c},
            )
            c = kept[path]
        return 4 * c.bound

    if session.options.does("transforms"):
        found = transforms.violations(session.subject, session.both, climbed, allowed, session.names)
        session.findings.extend(f._replace(example=climbed[0].args) for f in found)
    if session.options.does("reference"):
        with np.errstate(all="ignore"):  # an output may be infinite, where something is masked
            session.findings.extend(
                reference.violations(session.both, climbed[0], session.names, session.rng)
            )


def _look(session: Session, point: Point) -> None:
    """Look at one point, and note what was seen."""
    outputs, seen, undecided = look(session, point)
    for number, c in enumerate(outputs):
        where = f"output[{number}]" if len(outputs) > 1 else "output"
        if c.wrong and session.options.does("forward") and where not in {f.path for f in session.findings}:
            text = f"it differs from the reference's by {c.error:.1e}; allowed {c.bound:.1e} ({point.name})"
            session.findings.append(Finding("forward", where, text, point.args))
    session.undecided.extend(undecided)
    session.seen.append(seen)
