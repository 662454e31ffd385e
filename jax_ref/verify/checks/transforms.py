"""Invariance under `jit` and `vmap`, determinism, and arguments that are not written to."""

import copy
import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.comparison import tolerance
from jax_ref.verify.comparison.compare import Seen
from jax_ref.verify.findings import Finding
from jax_ref.verify.oracle import x64_for
from jax_ref.verify.points.point import Point
from jax_ref.verify.program.raised import told
from jax_ref.verify.session import Session
from jax_ref.verify.structure import match
from jax_ref.verify.trees import is_floating

ADDRESS = re.compile(r" at 0x[0-9a-f]+")
"""Where a function lies that is made anew in each call: a callback may be one."""


def violations(
    session: Session, several: Sequence[Seen], allowed: Callable[[Seen, str, float], float]
) -> list[Finding]:
    """What differs between two calls, under `jit` and eagerly, or under `vmap` and in a loop.

    It is tried at two points that were seen. `allowed(seen, path, distance)` says how far apart two results
    may be, at one of them and for one leaf, that are so far apart.
    """
    point, sides, findings = several[0].point, session.sides, []
    before = copy.deepcopy(_arrays(point))

    def tried(how: str, what: str, check: Callable[[], list[Finding]], reference: Callable[[], Any]) -> None:
        findings.extend(_tried(session, how, what, check, reference))

    with x64_for((point.args, point.d_output)):
        on_device = jax.tree.map(jnp.asarray, (point.args, point.d_output))
        stacked = jax.tree.map(stack, *[(s.point.args, s.point.d_output) for s in several])
        tried("called twice", "at a second call", lambda: _repeated(session, point), lambda: sides.own(point))
        if not findings:
            tried(
                "without jit",
                "without jit",
                lambda: _eagerly(session, several[0], on_device, allowed),
                lambda: session.subject.reference(*on_device[0]),
            )
            tried(
                "vmap",
                "under vmap",
                lambda: _mapped(session, several, stacked, allowed),
                lambda: jax.vmap(lambda args: session.subject.reference(*args))(stacked[0]),
            )
    if not all(_same(a, b) for a, b in zip(before, _arrays(point), strict=True)):
        findings.append(Finding("transform", "", "the call changed its arguments in place"))
    return list({f.path: f for f in findings}.values())


def _tried(
    session: Session, how: str, what: str, check: Callable[[], list[Finding]], reference: Callable[[], Any]
) -> list[Finding]:
    """What a check finds; where it raises, and the reference does not, that is found."""
    try:
        found = check()
    except Exception as error:  # the user's code may raise anything
        try:
            jax.block_until_ready(reference())
        except Exception as own:  # neither does the reference take it
            session.notes.append(f"not tried: {how}: the reference raises {told(own)}")
            return []
        return [Finding("transform", "", f"raises {what}: {told(error)}")]
    session.transforms.append(how)
    return found


def _repeated(session: Session, point: Point) -> list[Finding]:
    """What differs between two calls, or two programs that JAX makes of the same call."""
    first, second = (session.sides.manual(point)[1] for _ in range(2))
    text = "two calls with the same arguments"
    findings = [
        Finding("not deterministic", path, f"{text} differ")
        for path in first
        if not _same(first[path], second[path])
    ]
    if not findings and not _traces_the_same(session, point):
        return [Finding("not deterministic", "", f"{text} run other programs")]
    return findings


def _eagerly(session: Session, seen: Seen, on_device: Any, allowed: Callable[..., float]) -> list[Finding]:
    jitted = session.sides.manual(seen.point)[1]
    eager = match(seen.point.args, session.subject.run(*on_device)[1], session.names).right
    return _differ("under jit and without it", jitted, eager, functools.partial(allowed, seen))


def _mapped(
    session: Session, several: Sequence[Seen], stacked: Any, allowed: Callable[..., float]
) -> list[Finding]:
    findings, mapped = [], session.sides.mapped(stacked)(*stacked)[1]
    for i, seen in enumerate(several):
        row = {path: np.asarray(values)[i] for path, values in mapped.items()}
        single = session.sides.manual(seen.point)[1]
        findings += _differ("under vmap and one by one", single, row, functools.partial(allowed, seen))
    return findings


def _arrays(point: Point) -> list[np.ndarray]:
    """The arguments that a call could write into."""
    return [x for x in jax.tree.leaves(point.args) if isinstance(x, np.ndarray)]


def _differ(
    how: str, one: dict[str, Any], other: dict[str, Any], allowed: Callable[[str, float], float]
) -> list[Finding]:
    apart = {path: tolerance.distance(one[path], other[path]) for path in one}
    return [
        Finding("transform", path, f"it differs {how}")
        for path, distance in apart.items()
        if distance > allowed(path, distance)
    ]


def _same(one: Any, other: Any) -> bool:
    """Whether two arrays hold the same bits."""
    a, b = np.asarray(one), np.asarray(other)
    return np.array_equal(a, b, equal_nan=is_floating(a))


def _traces_the_same(session: Session, point: Point) -> bool:
    """Whether JAX sees the same program twice: random numbers of NumPy's, say, are constants in it."""

    def run(args: tuple[PyTree, ...], d_output: PyTree) -> Any:
        output, cotangents = session.subject.run(args, d_output)
        return output, match(args, cotangents, session.names).right

    # each a function of its own: what has been traced is not traced again
    one, other = (jax.make_jaxpr(lambda *given: run(*given))(point.args, point.d_output) for _ in range(2))
    constants = zip(one.consts, other.consts, strict=False)
    same = ADDRESS.sub("", str(one)) == ADDRESS.sub("", str(other))
    return same and all(_same(a, b) for a, b in constants)


def stack(*leaves: Any) -> Any:
    """One array of several; NumPy's where it can, as it compiles nothing."""
    return np.stack(leaves) if isinstance(leaves[0], np.ndarray) else jnp.stack(leaves)
