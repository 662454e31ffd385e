"""Linearity of a `custom_jvp` rule in the tangents of the arguments: under scaling, negation and addition.

Reverse mode takes the rule to be linear, and would not tell; the values of the tangents are held against the
reference with the cotangents, which are made of them.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.comparison import tolerance
from jax_ref.verify.findings import Finding
from jax_ref.verify.oracle import x64_for
from jax_ref.verify.points.point import Point
from jax_ref.verify.session import Session
from jax_ref.verify.subject import pushed
from jax_ref.verify.trees import float64, floats, is_floating

SCALES = (-1.0, 128.0, 0.0)

ULPS = 64
"""Units in the last place that a tangent may be off by."""


def violations(session: Session, point: Point) -> list[Finding]:
    """The leaves of the arguments in whose tangent that of the output is not linear."""
    findings, leaves = [], session.sides.reference.leaves(point.args)
    with x64_for((point.args, point.d_output)):
        push = jax.jit(lambda args, tangents: floats(pushed(session.subject.forward, args, tangents)))
        for number, (path, leaf) in enumerate(leaves.items()):
            if is_floating(leaf):
                text = _not_linear(push, point.args, number, session)
                findings += [Finding("not linear", path, text)] if text else []
    return findings


def _not_linear(push: Any, args: tuple[PyTree, ...], number: int, session: Session) -> str:
    """How the tangent of the output is not linear in that of one leaf; nothing if it is."""
    leaves = jax.tree.leaves(args)

    def at(values: np.ndarray) -> list[Any]:
        """The tangents of the output for one of that leaf alone."""
        tangents = [
            (values if i == number else np.zeros(np.shape(x))).astype(x.dtype) if is_floating(x) else None
            for i, x in enumerate(leaves)
        ]
        return [float64(t) for t in push(args, tangents)]

    x = leaves[number]
    eps = float(jnp.finfo(x.dtype).eps)
    first, second = (np.round(16 * session.rng.normal(size=np.shape(x))) / 16 for _ in range(2))
    one, other, both = at(first), at(second), at(first + second)

    def far(found: list[Any], expected: list[Any], scale: float) -> bool:
        size = sum(tolerance.size(t) for t in (*one, *other)) * max(abs(scale), 1)
        off = sum(tolerance.distance(t, e) for t, e in zip(found, expected, strict=True))
        return not off <= max(ULPS * eps, session.options.rtol) * size

    for scale in SCALES:
        if far(at(scale * first), [scale * t for t in one], scale):
            return (
                f"the rule is not linear in its tangent: for {scale:g} times it, the output's is not "
                f"{scale:g} times as large"
            )
    if far(both, [a + b for a, b in zip(one, other, strict=True)], 1.0):
        return "the rule is not linear in its tangent: for the sum of two, the output's is not the sum"
    return ""
