"""Sums of the backward pass over other axes than the right ones, or over none.

Through a statistic, as the sum of a softmax or the mean of a normalisation, the cotangent of an entry goes to
all that it is taken over: the backward sums over their axes. In place of this sum another is tried, over each
set of axes. Whoever writes it has taken factors that are the same for all these entries out of the sum, or
has not; for other axes that makes a difference, so that the statistic's own values are tried as factors.
"""

import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.comparison.compare import Seen
from jax_ref.verify.comparison.reference import Reference
from jax_ref.verify.diagnosis.explanation import Context, Explanation
from jax_ref.verify.oracle import wide
from jax_ref.verify.points.point import Point
from jax_ref.verify.program import source
from jax_ref.verify.program.compiled import Seldom
from jax_ref.verify.program.steps import Constant, Program, Step, opened, run
from jax_ref.verify.trees import is_floating, widened

Axes = tuple[int, ...]

MOST = 3
"""The most statistics that are changed."""

NUMBERS = 3_000_000
"""The most numbers in all the gradients together."""

TRIED = 30_000_000
"""The most numbers that are looked at to find the changes of several statistics."""

POWERS = (1, -1, 2, -2)
"""Powers of a statistic's values that are tried as factors within the sum."""


class Exit(NamedTuple):
    """A step, and its operand, and the number of that in the program."""

    step: Step
    operand: int
    number: int


class Statistic(NamedTuple):
    """A sum, and the operands at which what is made of it meets an array of the shape it is taken of."""

    step: Step
    exits: tuple[Exit, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the array it is taken of."""
        return self.step.equation.invars[0].aval.shape

    @property
    def axes(self) -> Axes:
        """Those it is taken over."""
        return tuple(self.step.equation.params["axes"])


class Change(NamedTuple):
    """Which statistic, the axes, the number of a value that is a factor within the sum, and its power.

    Over the right axes it is a factor of the sum. `alone` leaves out what comes back through other
    statistics, which for the mean of a normalisation is nothing over the right axes, and not written by hand.
    """

    statistic: int
    axes: Axes
    factor: int | None = None
    power: int = 1
    alone: bool = False


class Shares(NamedTuple):
    """The statistics, by path and number of each its right share, and for each change the wrong one."""

    statistics: tuple[Statistic, ...]
    by_change: dict[Change, dict[str, np.ndarray]]

    def difference(self, path: str, change: Change, scale: float) -> np.ndarray:
        """What a change, times a scale, adds to a cotangent."""
        right = Change(change.statistic, self.statistics[change.statistic].axes, alone=change.alone)
        return scale * self.by_change[change][path] - self.by_change[right][path]


def explanations(path: str, seen: list[Seen], context: Context) -> Iterator[Explanation]:
    """One statistic's sum over other axes; or several, each over the same."""
    first, known = seen[0], context.with_other_axes(seen[0])
    if known is None:
        return

    def predicted(changes: tuple[tuple[Change, float], ...]) -> Callable[[Seen], np.ndarray | None]:
        def at(s: Seen) -> np.ndarray | None:
            found = context.with_other_axes(s)
            if found is None:
                return None
            return s.cotangents[path].exact + sum(found.difference(path, *change) for change in changes)

        return at

    c = first.cotangents[path]
    for axes, changes in _fitting(known, path, c.actual - c.exact):
        statistics = [known.statistics[change.statistic] for change, _ in changes]
        if not all(change.axes != s.axes for (change, _), s in zip(changes, statistics, strict=True)):
            if len(changes) == 1:
                yield Explanation("factor", _factor(statistics[0], changes[0][0]), predicted(changes))
            continue
        yield Explanation("reduction", _text(axes, statistics), predicted(changes))


def _fitting(
    known: Shares, path: str, error: np.ndarray
) -> Iterator[tuple[Axes, tuple[tuple[Change, float], ...]]]:
    """For each set of axes and each choice of statistics, the changes whose sum is nearest to the error."""
    by_axes: dict[Axes, dict[int, list[tuple[Change, float]]]] = {}
    for change in known.by_change:
        statistic = known.statistics[change.statistic]
        if change != Change(change.statistic, statistic.axes, alone=change.alone):
            right, wrong = (
                math.prod(statistic.shape[a] for a in axes) for axes in (statistic.axes, change.axes)
            )
            of = by_axes.setdefault(change.axes, {}).setdefault(change.statistic, [])
            of += [(change, 1.0), (change, right / wrong)] if change.axes else [(change, 1.0)]
    for axes, of in sorted(by_axes.items(), key=lambda item: len(item[0])):
        terms = {i: np.stack([known.difference(path, *c).ravel() for c in of[i]]) for i in of}
        for count in range(1, len(of) + 1):
            for which in itertools.combinations(of, count):
                if np.prod([len(terms[i]) for i in which]) * error.size > TRIED:
                    continue
                best = _nearest([terms[i] for i in which], error.ravel())
                yield axes, tuple(of[i][k] for i, k in zip(which, best, strict=True))


def _nearest(terms: list[np.ndarray], error: np.ndarray) -> tuple[int, ...]:
    """The numbers of the rows, one of each array, whose sum is nearest to the error."""
    last = terms[-1]
    best, least = (0,) * len(terms), np.inf
    for others in itertools.product(*(range(len(t)) for t in terms[:-1])):
        rest = error - sum(t[k] for t, k in zip(terms[:-1], others, strict=True))
        with np.errstate(all="ignore"):
            distances = np.nan_to_num(((last - rest) ** 2).sum(1), nan=np.inf)
        k = int(np.argmin(distances))
        if distances[k] < least:
            best, least = (*others, k), float(distances[k])
    return best


def _factor(statistic: Statistic, change: Change) -> str:
    made = next(e.step for e in statistic.exits if e.number == change.factor)
    square = "the square of " if abs(change.power) > 1 else ""
    how = "multiplied" if change.power > 0 else "divided"
    at = source.expression(made)
    by = f"what is made of it{f' for {at}' if at else ''}"
    return f"what goes back through {_sum(statistic)} is {how} by {square}{by}"


def _sum(s: Statistic) -> str:
    at = source.expression(s.step)
    return f"the sum over axes {s.axes} of an array {s.shape}{f' in {at}' if at else ''}"


def _text(axes: Axes, statistics: list[Statistic]) -> str:
    sums = [_sum(s) for s in statistics]
    instead = f"summed over axes {axes}" if axes else "not summed at all"
    return f"what goes back through {' and '.join(dict.fromkeys(sums))} is {instead}"


def shares(reference: Reference, seen: Seen) -> Shares | None:
    """Those at a point; None where there are none, or too many, or where it cannot be run step by step."""
    try:
        return _shares(reference, seen.point)
    except Exception:  # an equation of any library may need more than `bind`
        return None


def _shares(reference: Reference, point: Point) -> Shares | None:
    with wide():
        args, d_output = widened((point.args, point.d_output))
        leaves = reference.leaves(args)
        program = opened(reference.function, *args)
        statistics = _statistics(program, [is_floating(x) for x in leaves.values()])
        changes = _changes(statistics)
        paths = [path for path, x in leaves.items() if is_floating(x)]
        numbers = sum(np.size(leaves[path]) for path in paths)
        if not changes or len(changes) * numbers > NUMBERS:
            return None
        found = [np.asarray(x) for x in _of_all(reference)(args, d_output)]
    by_change = {
        change: {path: x[i] for path, x in zip(paths, found, strict=True)} for i, change in enumerate(changes)
    }
    return Shares(statistics, by_change)


def _statistics(program: Program, floating: list[bool]) -> tuple[Statistic, ...]:
    """The sums that something else meets again in the shape that they are taken of."""
    active = {number for number, flag in zip(program.inputs, floating, strict=True) if flag}
    found = []
    for at, step in enumerate(program.steps):
        if active & set(_numbers(step)):
            active |= set(step.outputs)
            if step.name == "reduce_sum" and step.in_source:
                found.append(_followed(step, program.steps[at + 1 :]))
    usable = [s for s in found if s.exits and all(_out(e.step) == s.shape for e in s.exits)]
    return tuple(usable) if len(usable) <= MOST else ()


def _followed(step: Step, later: tuple[Step, ...]) -> Statistic:
    made, exits = set(step.outputs), []
    size = np.prod(step.equation.outvars[0].aval.shape, dtype=int)
    for other in later:
        if not made & set(_numbers(other)):
            continue
        shapes = [v.aval.shape for v in other.equation.outvars]
        if all(np.prod(shape, dtype=int) == size for shape in shapes):
            made |= set(other.outputs)
        else:
            taken = [(k, x) for k, x in enumerate(other.inputs) if not isinstance(x, Constant)]
            exits += [Exit(other, k, x) for k, x in taken if x in made and len(shapes) == 1]
    return Statistic(step, tuple(exits))


def _numbers(step: Step) -> list[int]:
    return [x for x in step.inputs if not isinstance(x, Constant)]


def _out(step: Step) -> tuple[int, ...]:
    return step.equation.outvars[0].aval.shape


def _changes(statistics: tuple[Statistic, ...]) -> list[Change]:
    """The right one of each statistic, and the wrong ones."""
    changes = []
    for i, s in enumerate(statistics):
        changes.append(Change(i, s.axes))
        every = range(len(s.shape))
        subsets = [axes for n in range(len(s.shape) + 1) for axes in itertools.combinations(every, n)]
        for axes in subsets:
            if axes == s.axes:
                changes += [Change(i, axes, e.number, power) for e in s.exits for power in POWERS]
            if axes == s.axes or any(s.shape[a] == 1 for a in axes):
                continue
            changes.append(Change(i, axes))
            alike = [o for o in statistics if (o.axes, o.shape) == (s.axes, s.shape)] if axes else []
            factors = dict.fromkeys(e.number for o in alike for e in o.exits)
            changes += [Change(i, axes, k, power) for k in factors for power in POWERS]
    alone = [change._replace(alone=True) for change in changes] if len(statistics) > 1 else []
    return [*changes, *alone]


@functools.lru_cache(maxsize=8)
def _of_all(reference: Reference) -> Any:
    """`(args, d_output)` -> for each floating leaf, the shares of all changes, stacked."""

    def shares(args: tuple[PyTree, ...], d_output: PyTree) -> list[Any]:
        leaves, program = jax.tree.leaves(args), opened(reference.function, *args)
        floating = [is_floating(x) for x in leaves]
        statistics = _statistics(program, floating)
        wrong = []
        for i, statistic in enumerate(statistics):
            changes = [change for change in _changes(statistics) if change.statistic == i]
            d_inputs = _d_inputs(program, leaves, d_output, statistic, statistics, changes)
            wrong.append(_pulled(program, leaves, floating, statistic, statistics, d_inputs))
        return [jnp.concatenate(of_leaf) for of_leaf in zip(*wrong, strict=True)]

    return Seldom(shares)


def _d_inputs(
    program: Program, leaves: list[Any], d_output: PyTree, statistic: Statistic,
    statistics: tuple[Statistic, ...], changes: list[Change],
) -> jax.Array:  # fmt: skip
    """(changes, *shape): the cotangent of what the statistic is taken of, by each change."""
    values: dict[int, Any] = {}
    inputs_of: dict[tuple[int, ...], list[Any]] = {}
    exits = {e.step.outputs: _out(e.step) for e in statistic.exits}
    operands = [e.number for e in statistic.exits]

    others = {s.step.outputs for s in statistics} - {statistic.step.outputs}

    def with_added(added: dict[Any, Any], delta: Any, alone: bool = False) -> tuple[PyTree, list[Any]]:
        mine: dict[int, Any] = {}

        def after(step: Step, inputs: list[Any], outputs: list[Any]) -> list[Any]:
            if step.outputs in added:
                outputs = [outputs[0] + added[step.outputs]]
            if step.outputs == statistic.step.outputs:
                outputs = [outputs[0] + delta]
            if alone and step.outputs in others:
                outputs = list(map(jax.lax.stop_gradient, outputs))
            mine.update(zip(step.outputs, outputs, strict=True))
            inputs_of[step.outputs] = inputs
            return outputs

        output = run(program, leaves, after)
        values.update(mine)
        return output, [mine[number] for number in operands]

    dtype = statistic.step.equation.outvars[0].aval.dtype
    none = jnp.zeros(statistic.step.equation.outvars[0].aval.shape, dtype)
    zeros = {outputs: jnp.zeros(shape, dtype) for outputs, shape in exits.items()}
    # the cotangents of what comes out of the exits, and how an operand there moves with the statistic
    d_exits = [
        jax.vjp(lambda added, a=alone: with_added(added, none, a)[0], zeros)[1](d_output)[0]
        for alone in (False, True)
    ]
    _, moved = jax.vjp(lambda delta: with_added({}, delta)[1], none)
    with_added({}, none)
    keep = tuple(1 if a in statistic.axes else n for a, n in enumerate(statistic.shape))
    terms = []
    for number, (step, k, _) in enumerate(statistic.exits):
        ones = [jnp.full_like(values[n], float(i == number)) for i, n in enumerate(operands)]
        slope = moved(ones)[0].reshape(keep)
        apart = [_apart(step, k, inputs_of[step.outputs], d[step.outputs]) for d in d_exits]
        terms.append((slope, apart))

    def changed(change: Change) -> Any:
        factor = jnp.ones(keep, dtype) if change.factor is None else values[change.factor].reshape(keep)
        factor = factor**change.power
        total = jnp.zeros(statistic.shape, dtype)
        for slope, apart in terms:
            entries = apart[change.alone]
            within = 1 / factor if change.axes != statistic.axes else jnp.ones_like(factor)
            total = total + slope * factor * jnp.sum(entries * within, change.axes, keepdims=True)
        return total

    return jnp.stack([changed(change) for change in changes])


def _apart(step: Step, k: int, inputs: list[Any], d_output: Any) -> Any:
    """What each entry of the output gives operand `k`, not summed yet."""
    if step.name == "broadcast_in_dim":
        return d_output
    full = jnp.broadcast_to(inputs[k], d_output.shape)
    _, vjp = jax.vjp(lambda x: step.run([*inputs[:k], x, *inputs[k + 1 :]])[0], full)
    return vjp(d_output)[0]


def _pulled(
    program: Program, leaves: list[Any], floating: list[bool], statistic: Statistic,
    statistics: tuple[Statistic, ...], d_inputs: jax.Array,
) -> list[Any]:  # fmt: skip
    """The cotangents of the floating leaves by those of what the statistic is taken of, others constant."""
    others = {s.step.outputs for s in statistics}

    def prefix(*given: Any) -> Any:
        rest, found = iter(given), []

        def after(step: Step, inputs: list[Any], outputs: list[Any]) -> list[Any]:
            if step.outputs == statistic.step.outputs:
                found.append(inputs[0])
            return list(map(jax.lax.stop_gradient, outputs)) if step.outputs in others else outputs

        run(program, [next(rest) if flag else x for x, flag in zip(leaves, floating, strict=True)], after)
        return found[0]

    _, vjp = jax.vjp(prefix, *(x for x, flag in zip(leaves, floating, strict=True) if flag))
    return list(jax.vmap(vjp)(d_inputs))
