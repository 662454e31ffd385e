"""Statistics in place of constants.

A normalisation in evaluation mode takes its mean and its variance from arguments, which are constants to its
input; in training mode they are its input's own. A backward written for training has terms too many.
"""

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.comparison.compare import Seen
from jax_ref.verify.comparison.reference import Reference
from jax_ref.verify.diagnosis.explanation import Context, Explanation
from jax_ref.verify.oracle import wide
from jax_ref.verify.program.compiled import Seldom
from jax_ref.verify.trees import is_floating, widened, with_leaf

Array = np.ndarray

Sources = tuple[tuple[str, str], ...]
"""Pairs of an argument and the statistic, a key of `STATISTICS`, that is in its place."""


def _variance(x: Any, mean: Any, axes: tuple[int, ...]) -> Any:
    return jnp.mean((x - jax.lax.stop_gradient(jnp.broadcast_to(mean, x.shape))) ** 2, axes)


STATISTICS = {"mean": lambda x, mean, axes: jnp.mean(x, axes), "variance": _variance}
"""By name, a statistic of an array, about a mean, over some axes."""


def explanations(path: str, seen: list[Seen], context: Context) -> Iterator[Explanation]:
    """Arguments that are constants to the input are taken for statistics of it."""
    first, reference = seen[0], context.reference
    leaves = reference.leaves(first.point.args)
    x = leaves[path]
    fitting = {
        name: axes for name, leaf in leaves.items()
        if name != path and is_floating(leaf) and (axes := _axes_between(np.shape(x), np.shape(leaf)))
    }  # fmt: skip
    for names in (n for count in (2, 1) for n in itertools.permutations(fitting, count)):
        axes = fitting[names[0]]
        if any(fitting[name] != axes for name in names):
            continue
        kinds = (("mean", "variance"),) if len(names) == 2 else (("mean",), ("variance",))
        for kind in kinds:
            sources = tuple(zip(names, kind, strict=True))
            text = " and ".join(f"{name} for the {which}" for name, which in sources)
            for values in (False, True):
                predict = functools.partial(_as_statistics, reference, path, sources, axes, values)
                how = f"it is the right one with {text} of {path} over axes {axes}"
                how += "" if values else ", in the derivative alone"
                yield Explanation("statistic", how, predict)


def _axes_between(shape: tuple[int, ...], less: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of a shape over which a statistic of the other shape is taken; none where there is no such."""
    for count in range(1, len(shape)):
        for axes in itertools.combinations(range(len(shape)), count):
            if less and tuple(n for a, n in enumerate(shape) if a not in axes) == less:
                return axes
    return ()


def _as_statistics(
    reference: Reference, path: str, sources: Sources, axes: tuple[int, ...], values: bool, seen: Seen
) -> Array:
    with wide():
        args, d_output = widened((seen.point.args, seen.point.d_output))
        return np.asarray(_with_statistics(reference, path, sources, axes, values)(args, d_output))


@functools.lru_cache(maxsize=32)
def _with_statistics(
    reference: Reference, path: str, sources: Sources, axes: tuple[int, ...], values: bool
) -> Any:
    """`(args, d_output)` -> the cotangent at `path`, through the statistics; with their values, or not."""

    def cotangent(args: tuple[PyTree, ...], d_output: PyTree) -> Any:
        leaves = reference.leaves(args)

        def output(x: Any) -> PyTree:
            given, mean = with_leaf(args, reference.names, path, x), 0.0
            for name, which in sources:
                statistic = STATISTICS[which](x, mean, axes)
                value = leaves[name]
                if not values:
                    statistic = value + statistic - jax.lax.stop_gradient(statistic)
                given = with_leaf(given, reference.names, name, statistic)
                kept = [n for a, n in enumerate(np.shape(x)) if a not in axes]
                shape = [1 if a in axes else n for a, n in enumerate(np.shape(x))]
                mean = jnp.reshape(jax.lax.stop_gradient(statistic), shape) if kept else mean
            return reference.function(*given)

        return jax.vjp(output, leaves[path])[1](d_output)[0]

    return Seldom(cotangent)
