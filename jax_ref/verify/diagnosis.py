"""What a wrong cotangent is instead: the simplest change that makes it right, claimed only if it does.

A description is tried on two points with other values and other cotangents of the output, and holds only
if the same change, with the same number in it, brings both within the bound of the oracle.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax_ref.verify import conditions, contributions, statistic, tolerance
from jax_ref.verify.evaluate import Compared, Point, differentiated, widened
from jax_ref.verify.report import Finding
from jax_ref.verify.structure import labelled
from jax_ref.verify.subject import is_floating

Array = np.ndarray


class Seen(NamedTuple):
    """One point with what was found there, by path."""

    point: Point
    cotangents: dict[str, Compared]


class Context(NamedTuple):
    """The reference, the arguments' names, and which of their leaves have the batch as leading axis."""

    reference: Callable[..., Any]
    names: tuple[str, ...]
    group: tuple[int, ...]


class Change(NamedTuple):
    """A description, and the cotangent that it predicts from the right one; None where it cannot be."""

    kind: str
    text: str
    predict: Callable[[Seen], Array | None]


def diagnose(path: str, seen: list[Seen], context: Context) -> Finding:
    """The first of the changes that holds at all the points, or that none does."""
    worst = seen[0].cotangents[path]
    if not np.all(np.isfinite(worst.actual[np.isfinite(worst.exact)])):
        bad = np.argwhere(~np.isfinite(worst.actual) & np.isfinite(worst.exact))
        first = tuple(map(int, bad[0]))
        text = f"NaN or infinite at {len(bad)} of {worst.actual.size} entries, first at {first}"
        return Finding("not finite", path, text)
    for change in _changes(path, seen[0], context):
        if all(_holds(change, path, s) for s in seen):
            return Finding(change.kind, path, change.text)
    relative = worst.error / max(tolerance.size(worst.exact), np.finfo(float).tiny)
    return Finding("gradient", path, f"off by {relative:.1e} of its norm; no simple change makes it right")


def _holds(change: Change, path: str, seen: Seen) -> bool:
    found = seen.cotangents[path]
    predicted = change.predict(seen)
    if predicted is None or predicted.shape != found.actual.shape:
        return False
    scale = max(1.0, tolerance.size(predicted) / max(tolerance.size(found.exact), np.finfo(float).tiny))
    return tolerance.distance(found.actual, predicted) <= 4 * found.bound * scale


def _changes(path: str, first: Seen, context: Context) -> Iterator[Change]:
    names = context.names
    found = first.cotangents[path]
    exact = lambda s: s.cotangents[path].exact  # noqa: E731
    yield Change("sign", "it has the wrong sign", lambda s: -exact(s))
    yield Change("zero", "it is zero", lambda s: np.zeros_like(exact(s)))
    yield from _factor(path, first, names)
    for axes in _permutations(found.exact.ndim):
        yield Change(
            "transposed",
            f"its axes are permuted: transpose it by {axes}",
            lambda s, axes=axes: np.transpose(exact(s), np.argsort(axes)),
        )
    for axis in range(found.exact.ndim):
        yield Change("flipped", f"it is reversed along axis {axis}", lambda s, a=axis: np.flip(exact(s), a))
        for shift in (1, -1):
            yield Change(
                "shifted",
                f"it is shifted by {shift} along axis {axis}",
                lambda s, a=axis, n=shift: np.roll(exact(s), n, a),
            )
            yield Change(
                "shifted",
                f"it is shifted by {shift} along axis {axis}, with zero at the end",
                lambda s, a=axis, n=shift: _shifted(exact(s), a, n),
            )
    for other in first.cotangents:
        if other != path:
            yield Change(
                "exchanged", f"it is the cotangent of {other}", lambda s, o=other: s.cotangents[o].exact
            )
    yield from _added(path, first, names)
    yield from _precision(path)
    yield from _reduced(path, first, context)
    yield from _conditional(path, first, names)
    yield from _frozen(path, first, context)


def _precision(path: str) -> Iterator[Change]:
    for dtype in (jnp.float16, jnp.bfloat16, jnp.float32):

        def rounded(s: Seen, dtype: Any = dtype) -> Array | None:
            """The cotangent itself, if most entries are off by that dtype's rounding, and none by more."""
            c = s.cotangents[path]
            eps, size = float(jnp.finfo(dtype).eps), np.max(np.abs(c.exact), initial=0)
            off = np.abs(c.actual - c.exact)[c.exact != 0] / (size or 1)
            rounding = off.size and np.max(off) <= 4 * eps and np.max(off) > eps / 50
            return c.actual if rounding and np.mean(off > eps / 1000) > 0.5 else None

        yield Change("precision", f"it has the digits of {jnp.dtype(dtype)} only", rounded)


def _reduced(path: str, first: Seen, context: Context) -> Iterator[Change]:
    leaves = list(labelled(first.point.args, context.names))
    if not context.group or leaves.index(path) in context.group:
        return

    @functools.cache
    def shares(number: int) -> Array:
        s = first if number == id(first) else others[number]
        return contributions.of_examples(context.reference, s.point, context.group, path, context.names)

    others: dict[int, Seen] = {}
    for text, reduce in contributions.reductions(shares(id(first))):

        def predicted(s: Seen, reduce: Any = reduce) -> Array:
            others[id(s)] = s
            return reduce(shares(id(s)))

        yield Change("reduction", f"it is {text}", predicted)


def _conditional(path: str, first: Seen, names: tuple[str, ...]) -> Iterator[Change]:
    """Right but where a condition holds: on a position, or on an input of the same shape."""

    def wrong_entries(s: Seen) -> Array:
        c = s.cotangents[path]
        return ~(
            np.abs(c.actual - c.exact) <= 2 * c.bound / np.sqrt(max(c.exact.size, 1)) + 1e-6 * np.abs(c.exact)
        )

    wrong = wrong_entries(first)
    if wrong.all() or not wrong.any():
        return
    for text, mask in conditions.where(first.point.args, labelled(first.point.args, names), wrong):
        if not np.any(wrong & mask) or np.any(wrong & ~mask) or np.mean(wrong[mask]) < 0.5:
            continue

        def predicted(s: Seen, text: str = text) -> Array | None:
            """The cotangent itself, if it is wrong where the condition holds and nowhere else."""
            found, named = wrong_entries(s), labelled(s.point.args, names)
            same = [m for t, m in conditions.where(s.point.args, named, found) if _same(t, text)]
            holds = any(not np.any(found & ~m) for m in same)
            return s.cotangents[path].actual if holds else None

        yield Change("conditional", f"it is wrong only {text}", predicted)


def _same(text: str, other: str) -> bool:
    """The same condition, with whatever threshold."""
    return text.rpartition(" ")[0] == other.rpartition(" ")[0]


def _frozen(path: str, first: Seen, context: Context) -> Iterator[Change]:
    with jax.enable_x64(True):
        args = widened(first.point.args)
        try:
            held = list(statistic.frozen(context.reference, args))
        except Exception:  # a program with parts that cannot be run one by one
            return
    for text, function in held:

        def predicted(s: Seen, function: Any = function) -> Array:
            with jax.enable_x64(True):
                args, d_output = widened((s.point.args, s.point.d_output))
                return np.asarray(differentiated(function, args, d_output, context.names)[1][path])

        yield Change("statistic", f"it takes {text} for a constant", predicted)


def _factor(path: str, first: Seen, names: tuple[str, ...]) -> Iterator[Change]:
    found = first.cotangents[path]
    norm = float(np.vdot(found.exact, found.exact))
    if not norm > 0 or not np.all(np.isfinite(found.actual)):
        return
    factor = float(np.vdot(found.exact, found.actual)) / norm
    if factor == 0:
        return
    yield Change(
        "factor",
        f"it is {_named(factor, first, names)} times the right one",
        lambda s: factor * s.cotangents[path].exact,
    )


def _added(path: str, first: Seen, names: tuple[str, ...]) -> Iterator[Change]:
    """A multiple of an argument, of a cotangent or of the output's cotangent is added or missing."""

    def terms(s: Seen) -> dict[str, Array]:
        args = {k: np.asarray(x) for k, x in labelled(s.point.args, names).items() if is_floating(x)}
        others = {f"the cotangent of {k}": c.exact for k, c in s.cotangents.items() if k != path}
        d_output = np.asarray(s.point.d_output) if hasattr(s.point.d_output, "dtype") else np.zeros(0)
        return args | others | {"the cotangent of the output": d_output}

    found = first.cotangents[path]
    rest = found.actual - found.exact
    for name, term in terms(first).items():
        if term.shape != rest.shape or not np.any(term):
            continue
        term = term.astype(np.float64)
        factor = float(np.vdot(term, rest) / np.vdot(term, term))
        text = (
            f"{factor:.6g} times {name} is added" if factor > 0 else f"{-factor:.6g} times {name} is missing"
        )
        yield Change(
            "added term",
            text,
            lambda s, n=name, f=factor: s.cotangents[path].exact + f * terms(s)[n].astype(np.float64),
        )


def _named(factor: float, seen: Seen, names: tuple[str, ...]) -> str:
    """A number, as a size of the arguments where it is one."""
    sizes = {
        f"{label} with {label} = {size}": size
        for path, leaf in labelled(seen.point.args, names).items()
        for axis, size in enumerate(np.shape(leaf))
        if size > 1
        for label in [f"{path}.shape[{axis}]"]
    }
    for text, size in sizes.items():
        for form, value in ((text, size), (f"1/{text}", 1 / size), (f"sqrt {text}", size**0.5),
                            (f"1/sqrt {text}", size**-0.5)):  # fmt: skip
            if abs(factor - value) <= 1e-6 * abs(value) and value not in (2, 0.5):
                return form
    return f"{factor:.7g}"


def _permutations(ndim: int) -> list[tuple[int, ...]]:
    return [p for p in itertools.permutations(range(ndim)) if p != tuple(range(ndim))] if ndim <= 4 else []


def _shifted(x: Array, axis: int, by: int) -> Array:
    rolled: Any = np.roll(x, by, axis)
    edge = [slice(None)] * x.ndim
    edge[axis] = slice(0, by) if by > 0 else slice(by, None)
    rolled[tuple(edge)] = 0
    return rolled
