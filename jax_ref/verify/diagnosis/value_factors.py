"""Factors that are the values of the reference's steps: one too many, too few, or constants in its place.

A length that is divided by twice, or not at all; a deviation for which a constant is captured.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.comparison.compare import Seen
from jax_ref.verify.comparison.reference import Reference
from jax_ref.verify.diagnosis.explanation import Context, Explanation
from jax_ref.verify.diagnosis.primitives import called
from jax_ref.verify.oracle import wide
from jax_ref.verify.program import source
from jax_ref.verify.program.compiled import Seldom
from jax_ref.verify.program.steps import Step, opened, run
from jax_ref.verify.trees import is_floating, widened

Array = np.ndarray

POWERS = {
    1: "multiplied by",
    -1: "divided by",
    2: "multiplied by the square of",
    -2: "divided by the square of",
}

MOST = 200
"""The most steps whose values are looked at."""


def explanations(path: str, seen: list[Seen], context: Context) -> Iterator[Explanation]:
    """The right one times a value, along the axes that it has in common."""
    found = seen[0].cotangents[path]
    for text in along(found.exact.shape, context.values(seen[0])):
        for power, how in POWERS.items():
            predicted = functools.partial(_times, _right(path), context, text, power)
            yield Explanation("factor", f"it is the right one {how} the value of {text}", predicted)


def exchanged(path: str, seen: list[Seen], context: Context) -> Iterator[Explanation]:
    """The right one with one value in the place of another of its kind: two norms, two scales."""
    shape = seen[0].cotangents[path].exact.shape
    pairs = itertools.permutations(along(shape, context.values(seen[0])), 2)
    for one, other in (pair for pair in pairs if len({text.partition(" in ")[0] for text in pair}) == 1):
        multiplied = functools.partial(_times, _right(path), context, one, 1)
        predicted = functools.partial(_times, multiplied, context, other, -1)
        how = f"it is the right one multiplied by the value of {one} and divided by that of {other}"
        yield Explanation("factor", f"{how}: are they exchanged?", predicted)


def fixed(path: str, seen: list[Seen], context: Context) -> Iterator[Explanation]:
    """For a value of a step there are constants, the same wherever it was looked at: are they captured?

    The statistics are right, or constants too. It takes several points to show it.
    """
    first = seen[0]
    shape = first.cotangents[path].exact.shape
    same = [s for s in seen if s.cotangents[path].exact.shape == shape]
    if len(same) < 2 or not shape:
        return

    def with_constants(s: Seen) -> Array | None:
        every = context.mistaken(s, True)
        return every[list(every)[-1]].get(path) if every else None

    bases = (
        ("value", "", _right(path)),
        ("statistic", "every statistic is taken for a constant, and ", with_constants),
    )
    for kind, what, of in bases:
        for text in along(shape, context.values(first)):
            for power in (1, -1):
                base = functools.partial(_times, of, context, text, power)
                known = base(first)
                if known is None:
                    continue
                for axis in range(len(shape)):
                    numbers = _fitted(known, first.cotangents[path].actual, axis)
                    if numbers is None:
                        continue

                    def predicted(s: Seen, base: Any = base, numbers: Array = numbers) -> Array | None:
                        found = base(s)
                        return None if found is None else found * numbers

                    constants = f"one for each entry of axis {axis}"
                    how = (
                        f"{what}for the value of {text} there are constants, {constants}: are they captured?"
                    )
                    yield Explanation(kind, how, predicted)


def _right(path: str) -> Callable[[Seen], Array]:
    return lambda s: s.cotangents[path].exact


def _times(
    of: Callable[[Seen], Array | None], context: Context, text: str, power: int, s: Seen
) -> Array | None:
    """A cotangent times the value of a step."""
    base = of(s)
    known = context.values(s).get(text)
    value = None if base is None or known is None else _beside(base.shape, known)
    with np.errstate(all="ignore"):
        return None if base is None or value is None else base * value**power


def _fitted(known: Array, actual: Array, axis: int) -> Array | None:
    """For each entry of an axis the number that `known` is to be multiplied by."""
    others = tuple(a for a in range(known.ndim) if a != axis)
    with np.errstate(all="ignore"):
        products, squares = (np.sum(known * x, others, keepdims=True) for x in (actual, known))
        numbers = products / squares
    return numbers if np.all(np.isfinite(numbers)) else None


def along(shape: tuple[int, ...], values: dict[str, Array]) -> dict[str, Array]:
    """Those values that can stand beside an array of a shape, broadcast along its first or with its axes."""
    fitting = {text: _beside(shape, value) for text, value in values.items()}
    return {text: value for text, value in fitting.items() if value is not None}


def _beside(shape: tuple[int, ...], value: Array) -> Array | None:
    if not value.size > 1 or value.ndim > len(shape):
        return None
    if value.ndim == len(shape):
        fits = all(n in (1, m) for n, m in zip(value.shape, shape, strict=True))
    else:
        fits = value.shape == shape[: value.ndim]
    return value.reshape(value.shape + (1,) * (len(shape) - value.ndim)) if fits else None


def values(reference: Reference, seen: Seen) -> dict[str, Array]:
    """By the words for each step of the source, what it gives; nothing where there are too many."""
    try:
        with wide():
            args = widened(seen.point.args)
            texts = _texts(reference, args)
            found = _all_of(reference)(args) if texts else []
            return {text: np.asarray(x) for text, x in zip(texts, found, strict=True)}
    except Exception:  # an equation of any library may need more than `bind`
        return {}


def _texts(reference: Reference, args: tuple[PyTree, ...]) -> list[str]:
    steps = [step for step in opened(reference.function, *args).steps if _is_told(step)]
    if len(steps) > MOST:
        return []
    texts = [f"the {called(s.name)} in {source.expression(s)}" for s in steps]
    return [text if texts.count(text) == 1 else f"{text} ({i})" for i, text in enumerate(texts)]


def _is_told(step: Step) -> bool:
    one = len(step.outputs) == 1 and step.in_source and bool(source.expression(step))
    return one and is_floating(step.equation.outvars[0].aval)


@functools.lru_cache(maxsize=16)
def _all_of(reference: Reference) -> Any:
    def taken(args: tuple[PyTree, ...]) -> list[Any]:
        found = []

        def after(step: Step, inputs: list[Any], outputs: list[Any]) -> list[Any]:
            found.extend(outputs if _is_told(step) else [])
            return outputs

        run(opened(reference.function, *args), jax.tree.leaves(args), after)
        return found

    return Seldom(taken)
