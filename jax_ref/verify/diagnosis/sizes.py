"""Factors in words: sizes of the arguments, their roots and products, told from plain numbers at other sizes.

A factor of 2 is the root of a width of 4, or just 2: at a width of 6 it is one or the other. So the two sides
are compared once more, with every axis of that size resized together.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.comparison.compare import Seen
from jax_ref.verify.diagnosis.explanation import Context
from jax_ref.verify.oracle import wide
from jax_ref.verify.points.point import Point, cotangent
from jax_ref.verify.trees import float64, floats

Leaves = dict[str, Any]

CLOSE = 1e-6
"""How near a factor is to what it is called."""

MOST = 4096
"""The most numbers in the arguments for which they are resized."""


class Form(NamedTuple):
    """A number made of sizes: its text, the axes whose sizes are in it, and its value for other arguments."""

    text: str
    axes: tuple[tuple[str, int], ...]
    value: Callable[[Leaves], float]


FORMS: dict[str, Callable[[float], float]] = {
    "{}": lambda n: n,
    "1/{}": lambda n: 1 / n,
    "sqrt {}": lambda n: n**0.5,
    "1/sqrt {}": lambda n: n**-0.5,
    "n/(n - 1) for n = {}": lambda n: n / (n - 1) if n > 1 else np.nan,
    "(n - 1)/n for n = {}": lambda n: (n - 1) / n,
}
"""What is made of a single size."""

OF_TWO: dict[str, Callable[[float, float], float]] = {
    "{} {}": lambda n, m: n * m,
    "1/({} {})": lambda n, m: 1 / (n * m),
    "{}/{}": lambda n, m: n / m,
    "1/sqrt({} {})": lambda n, m: (n * m) ** -0.5,
    "sqrt({} {})": lambda n, m: (n * m) ** 0.5,
}
"""And of two."""


def named(factor: float, leaves: Leaves) -> str:
    """A number in words where a single size of the arguments gives it, and it is none of the usual ones."""
    for form in _single(leaves):
        if _is_near(factor, form.value(leaves)) and form.value(leaves) not in (2, 0.5):
            return _with_values(form, leaves)
    return number(factor)


def confirmed(path: str, factor: float, first: Seen, context: Context) -> str:
    """A number in words, where sizes that give it give it for resized arguments too."""
    leaves = context.reference.leaves(first.point.args)
    fitting = [f for f in _forms(leaves) if _is_near(factor, f.value(leaves))]
    seen: dict[int, tuple[Leaves, float] | None] = {}
    for form in fitting:
        sizes = {np.shape(leaves[name])[axis] for name, axis in form.axes}
        tried = []
        for size in sizes:
            if size not in seen:
                seen[size] = _resized(path, first.point, size, context)
            tried.append(seen[size])
        known = [t for t in tried if t is not None]
        if all(_is_near(at_size, form.value(others)) for others, at_size in known) and (
            known or form.value(leaves) not in (2, 0.5)
        ):
            return _with_values(form, leaves)
    return number(factor)


def number(factor: float) -> str:
    """A number with as many digits as tell it from one."""
    text = f"{factor:.7g}"
    return text if text != "1" else f"1 {'+' if factor > 1 else '-'} {abs(factor - 1):.2g}"


def _axes(leaves: Leaves) -> list[tuple[str, int]]:
    return [(p, a) for p, leaf in leaves.items() for a, size in enumerate(np.shape(leaf)) if size > 1]


def _single(leaves: Leaves) -> Iterator[Form]:
    for path, axis in _axes(leaves):
        for text, of in FORMS.items():
            yield Form(
                text.format(f"{path}.shape[{axis}]"),
                ((path, axis),),
                lambda at, p=path, a=axis, of=of: of(np.shape(at[p])[a]),
            )


def _forms(leaves: Leaves) -> Iterator[Form]:
    """Those of one size, then those of two that are of different axes of one argument, or of two."""
    yield from _single(leaves)
    axes = list({np.shape(leaves[p])[a]: (p, a) for p, a in reversed(_axes(leaves))}.values())
    for (p, a), (q, b) in itertools.permutations(axes, 2):
        for text, of in OF_TWO.items():
            if text == "{}/{}" or (p, a) < (q, b):
                yield Form(
                    text.format(f"{p}.shape[{a}]", f"{q}.shape[{b}]"),
                    ((p, a), (q, b)),
                    lambda at, p=p, a=a, q=q, b=b, of=of: of(np.shape(at[p])[a], np.shape(at[q])[b]),
                )


def _with_values(form: Form, leaves: Leaves) -> str:
    values = ", ".join(f"{p}.shape[{a}] = {np.shape(leaves[p])[a]}" for p, a in form.axes)
    return f"{form.text} with {values}"


def _is_near(factor: float, value: float) -> bool:
    return bool(abs(factor - value) <= CLOSE * abs(value))


def _resized(path: str, point: Point, size: int, context: Context) -> tuple[Leaves, float] | None:
    """Arguments with each axis of a size resized, and the factor there; None where that cannot be had."""
    if sum(np.size(x) for x in floats(point.args)) > MOST:
        return None
    for other in (size + 1, 2 * size, size - 1):
        moved = _with_size(point, size, other, context)
        factor = _factor(path, moved, context) if moved is not None else None
        if moved is not None and factor is not None:
            return context.reference.leaves(moved.args), factor
    return None


def _with_size(point: Point, size: int, other: int, context: Context) -> Point | None:
    rng = np.random.default_rng(0)

    def leaf(x: Any) -> Any:
        for axis, n in enumerate(np.shape(x)):
            if n == size:
                x = np.take(x, np.resize(np.arange(n), other), axis)
        return x * (1 + 0.1 * rng.normal(size=x.shape)) if x.dtype == np.float64 else x

    args: tuple[PyTree, ...] = jax.tree.map(leaf, point.args)
    try:
        with wide():
            output = jax.eval_shape(context.reference.function, *args)
    except Exception:  # whatever a user's function raises for a shape it cannot take
        return None
    return point._replace(args=args, d_output=cotangent(output, rng))


def _factor(path: str, point: Point, context: Context) -> float | None:
    try:
        right = float64(context.sides.exact(point)[1][path])
        found = float64(context.sides.manual(point)[1][path])
    except Exception:  # of the user's code, for a size that it is not made for
        return None
    norm = float(np.vdot(right, right))
    if found.shape != right.shape or not np.all(np.isfinite(found)) or not norm > 0:
        return None
    factor = float(np.vdot(right, found)) / norm
    return factor if np.allclose(found, factor * right, rtol=1e-4, atol=1e-4 * norm**0.5) else None
