"""One cotangent made from another: its sum or mean over some axes, transposed, or times an argument.

The bias's is taken from that of the input, the values' from that of the keys.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from jax_ref.verify.comparison.compare import Seen
from jax_ref.verify.diagnosis.explanation import Context, Explanation
from jax_ref.verify.trees import is_floating

Array = np.ndarray
Change = Callable[[Array], Array]
"""From another cotangent to what is in place of the right one."""


def explanations(path: str, seen: list[Seen], context: Context) -> Iterator[Explanation]:
    """Each other argument's cotangent, or the output's, in each way that gives the right shape."""
    first = seen[0]
    shape = first.cotangents[path].exact.shape
    for name, of in _others(path, first, context).items():
        for text, change in _ways(of, shape):
            for times, sign in (("", 1), ("minus ", -1)):

                def predicted(s: Seen, name: str = name, change: Change = change, sign: int = sign) -> Any:
                    return sign * change(_others(path, s, context)[name])

                yield Explanation("exchanged", f"it is {times}{text.format(name)}", predicted)
        for argument, leaf in context.reference.leaves(first.point.args).items():
            if is_floating(leaf) and np.ndim(leaf) and name != "the cotangent of the output":
                yield from _times(path, name, argument, context, first)


def _others(path: str, s: Seen, context: Context) -> dict[str, Array]:
    found = {f"the cotangent of {k}": c.exact for k, c in s.cotangents.items() if k != path}
    if hasattr(s.point.d_output, "dtype") and is_floating(s.point.d_output):
        found["the cotangent of the output"] = np.asarray(s.point.d_output, np.float64)
    return found


def _ways(of: Array, shape: tuple[int, ...]) -> Iterator[tuple[str, Change]]:
    """Its sum or mean over some of its axes, or its axes in another order, where that has the shape."""
    for count in range(1, of.ndim + 1):
        for axes in itertools.combinations(range(of.ndim), count):
            if tuple(n for a, n in enumerate(of.shape) if a not in axes) == shape:
                yield f"the sum over axes {axes} of {{}}", lambda c, a=axes: c.sum(a)
                yield f"the mean over axes {axes} of {{}}", lambda c, a=axes: c.mean(a)
    for order in itertools.permutations(range(of.ndim)) if 1 < of.ndim <= 4 else ():
        if order != tuple(range(of.ndim)) and tuple(of.shape[a] for a in order) == shape:
            yield f"{{}} with its axes in the order {order}", lambda c, o=order: c.transpose(o)


def _times(path: str, name: str, argument: str, context: Context, first: Seen) -> Iterator[Explanation]:
    """Another cotangent times an argument, or by it, and summed to the shape."""
    shape = first.cotangents[path].exact.shape

    def product(s: Seen, power: int) -> Array | None:
        c = _others(path, s, context)[name]
        x = np.asarray(context.reference.leaves(s.point.args)[argument], np.float64)
        if x.shape not in (c.shape, c.shape[c.ndim - x.ndim :]):
            return None
        with np.errstate(all="ignore"):
            whole = c * x**power
        extra = whole.ndim - len(shape)
        summed = whole.sum(tuple(range(extra))) if extra > 0 else whole
        return summed if summed.shape == shape else None

    if product(first, 1) is None:
        return
    for text, power in (("times", 1), ("divided by", -1)):
        yield Explanation(
            "exchanged",
            f"it is {name} {text} {argument}, summed to its shape",
            lambda s, p=power: product(s, p),
        )
