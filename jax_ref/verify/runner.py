"""The sequence of the checks on one subject and its examples."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify import attempts
from jax_ref.verify.checks import ahead, devices, linearity, reference, tangents, transforms, values
from jax_ref.verify.clock import Clock
from jax_ref.verify.comparison import allowances, resolution, sides
from jax_ref.verify.comparison.compare import Seen
from jax_ref.verify.comparison.nearby_runs import NearbyRuns
from jax_ref.verify.findings import Finding
from jax_ref.verify.options import LEVELS, QUICK, Options
from jax_ref.verify.oracle import x64_for
from jax_ref.verify.points import batches, domain, integers
from jax_ref.verify.points.climb import climb
from jax_ref.verify.points.ladder import AT_KINKS, spread
from jax_ref.verify.points.point import EXAMPLE, Point, cotangent
from jax_ref.verify.program import rules
from jax_ref.verify.program.raised import told
from jax_ref.verify.session import Session
from jax_ref.verify.structure import match
from jax_ref.verify.subject import Subject


def run_checks(
    subject: Subject, examples: list[tuple[PyTree, ...]], options: Options, clock: Clock | None = None
) -> Session:
    """All the checks on all the examples; those that see no values on the first alone."""
    rng = np.random.default_rng(options.seed)
    session = Session(
        subject,
        options,
        sides.of(subject, examples[0]),
        rng,
        notes=_notes(subject, options),
        clock=clock or Clock(options.time_limit),
    )
    session.notes.extend(resolution.notes(session.sides.reference.resolution))
    try:
        for number, example in enumerate(examples):
            args = _spread(session, example)
            output = _structure(session, args)
            if output is not None:
                ahead.of_values(session, args, output)
                if number == 0:
                    ahead.of_transforms(session, args, output)
                climbed = _values(session, args, output)
                if number == 0 and climbed:
                    _behaviour(session, climbed)
    finally:
        session.workers.shutdown(wait=False, cancel_futures=True)
    _absent(session, examples[0])
    if session.left:
        left = ", ".join(dict.fromkeys(session.left))
        session.notes.append(f"the time_limit of {session.clock.limit:g} s was over: not tried: {left}")
    for what, by_reason in (("tried", session.untried), ("judged", session.unjudged)):
        session.notes.extend(
            f"not {what} at {', '.join(dict.fromkeys(points))}: {why}" for why, points in by_reason.items()
        )
    return session


def _spread(session: Session, example: tuple[PyTree, ...]) -> tuple[PyTree, ...]:
    """The example with leaves of equal entries drawn anew: these may have left the domain."""
    args = spread(example, session.rng)
    same = all(a is b for a, b in zip(jax.tree.leaves(args), jax.tree.leaves(example), strict=True))
    return args if same else domain.within(session.options.domain, args, session.names)


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


def _plain(session: Session, args: tuple[PyTree, ...]) -> list[str]:
    """A note where a function, given as one with a rule of its own, has none."""
    if not session.subject.with_rule or rules.has_own(session.subject.forward, args):
        return []
    return [
        f"nothing hand-written was found in {session.subject.name}: it has no jax.custom_vjp or custom_jvp, "
        "so that JAX's own derivative was held against the reference's"
    ]


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
        _real(output)
        try:
            own = jax.eval_shape(session.subject.forward, *args)
            found = attempts.another_output(own, output)
            if not found:
                jax.eval_shape(traced, args, cotangent(output, session.rng))
                session.notes.extend(_plain(session, args))
        except Exception as error:  # the user's code may raise anything
            session.findings.append(Finding("raises", "", told(error), args))
            return None
    session.findings.extend(f._replace(example=args) for f in found)
    return None if "forward" in {f.kind for f in found} else output


def _real(output: PyTree) -> None:
    """Say what to do about an output that is complex, or not of floating point."""
    dtypes = [x.dtype for x in jax.tree.leaves(output)]
    for dtype in dtypes:
        if jnp.issubdtype(dtype, jnp.complexfloating):
            raise TypeError(
                f"verify: the output is complex ({dtype}); expected real ones: return its real and its "
                "imaginary part, as in `lambda x: (f(x).real, f(x).imag)`, from fwd and the reference, and "
                "let bwd take their cotangents (a, b) for the complex a - 1j * b"
            )
    if not any(map(jnp.issubdtype, dtypes, [jnp.floating] * len(dtypes))):
        found = ", ".join(map(str, dtypes)) or "nothing"
        raise TypeError(
            f"verify: no output is of floating point; expected one, to differentiate; found {found}"
        )


def _shapes(subject: Subject, args: tuple[PyTree, ...]) -> PyTree:
    """The reference's output, traced."""
    try:
        return jax.eval_shape(subject.reference, *args)
    except Exception as error:
        what = "fwd" if subject.own_forward else "the reference"
        raise TypeError(
            f"verify: {what} could not be called with the {len(args)} arguments of the example: {told(error)}"
        ) from error


def _values(session: Session, args: tuple[PyTree, ...], output: PyTree) -> list[Seen]:
    """Compare on the ladder, for other cotangents and other batch sizes; what was seen on the ladder."""
    options = session.options
    rungs = QUICK if "ladder" in options.skip else LEVELS[options.level]
    rungs = tuple(rung for rung in rungs if rung != "other integers" or options.does("integers"))
    climbed = _tried(session, climb(args, output, session.rng, rungs))
    if options.does("linearity") and climbed:
        found = attempts.tried(
            session, "linearity", lambda: linearity.violations(session.sides, climbed[0], session.rng)
        )
        session.not_linear.extend(f._replace(example=args) for f in found)
    if options.does("batches") and climbed:
        resized = batches.resized(session.subject.reference, args, session.rng)
        _tried(session, resized)
        if not resized:
            session.notes.append("no batch axis was found: the sizes are those of the example")
    return climbed


def _tried(session: Session, points: list[Point]) -> list[Seen]:
    """What is seen at points, taken into the domain."""
    inside, refuses = session.options.domain, session.sides.reference.resolution.refuses
    if refuses and any(p.name in AT_KINKS for p in points):
        places = ", ".join(p.name for p in points if p.name in AT_KINKS)
        session.notes.append(
            f"not tried at {places}: kinks are looked for in float64, which the reference refuses"
        )
        points = [p for p in points if p.name not in AT_KINKS]
    valid = [p if p.name == EXAMPLE else domain.at(inside, p, session.names) for p in points]
    usable = [p for p in valid if inside is None or domain.is_usable(p)]
    return [seen for p in usable if (seen := attempts.seen_at(session, p, _evaluate))]


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
    around = functools.cache(lambda seen: NearbyRuns(session.sides, seen.point, session.rng))

    def allowed(seen: Seen, path: str, distance: float) -> float:
        """Four times the bound; what is wrong anyhow may differ as it likes."""
        c = seen.cotangents.get(path)
        if c is None or seen.verdict(path) == "wrong" or path in not_linear:
            return float("inf")
        if distance > 4 * c.bound:
            c = allowances.of_transforms(around(seen), path, c)
        return 4 * c.bound

    first = climbed[0].point
    if session.options.does("transforms"):
        found = attempts.tried(
            session, "transforms", lambda: transforms.violations(session, climbed[:2], allowed)
        )
        session.findings.extend(f._replace(example=first.args) for f in found)
    if session.options.does("devices") and not session.wrong():
        found = attempts.tried(session, "devices", lambda: devices.violations(session, first))
        session.findings.extend(found)
    if session.subject.forward_mode:
        found = attempts.tried(session, "tangents", lambda: tangents.violations(session, first))
        session.findings.extend(f._replace(example=first.args) for f in found)
    named = any(f.kind == "reference" for f in session.findings)
    if session.options.does("reference") and not named and _has_values(session, first):
        with np.errstate(all="ignore"):  # an output may be infinite, where something is masked
            found = attempts.tried(
                session,
                "reference",
                lambda: reference.violations(session.sides, first, session.rng, session.options.rtol),
            )
            session.findings.extend(found)


def _has_values(session: Session, point: Point) -> bool:
    """Whether the reference's derivative is that of its values in float64: of a state there is none."""
    partly = session.subject.of_first and len(jax.tree.leaves(point.d_output)) > 1
    return not partly and not session.sides.reference.resolution.refuses
