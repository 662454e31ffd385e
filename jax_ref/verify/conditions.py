"""Where a cotangent is wrong: the simplest condition on an input, or on the position, that says it."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax_ref.verify.oracle import dtype_of, is_floating

Mask = np.ndarray


class Condition(NamedTuple):
    """Text, a mask of where it holds, and whether it has a threshold, which may be another elsewhere."""

    text: str
    mask: Mask
    threshold: bool = False

    def same(self, other: "Condition") -> bool:
        """The same condition, with whatever threshold."""
        if not self.threshold:
            return self.text == other.text
        return other.threshold and self.text.rpartition(" ")[0] == other.text.rpartition(" ")[0]


def where(named: dict[str, Any], wrong: Mask) -> Iterator[Condition]:
    """Conditions that could hold just where `wrong` does.

    Positions first, then the inputs' values: thresholds lie between the values inside and outside.
    """
    if wrong.sum() == 1 and wrong.ndim:
        yield Condition(f"at one entry, {tuple(map(int, np.argwhere(wrong)[0]))}", wrong)
    for axis, size in enumerate(wrong.shape):
        at = np.flatnonzero(wrong.any(tuple(a for a in range(wrong.ndim) if a != axis)))
        single = {f"entry {i}": i for i in at if len(at) == 1}
        for which, index in ({"the first entry": 0, "the last entry": size - 1} | single).items():
            mask = np.zeros(wrong.shape, bool)
            mask[(slice(None),) * axis + (index,)] = True
            yield Condition(f"in {which} of axis {axis}", mask)
    for path, leaf in named.items():
        if not hasattr(leaf, "shape") or jnp.issubdtype(dtype_of(leaf), jax.dtypes.prng_key):
            continue
        values = np.asarray(leaf)
        for text, x in _alongside(path, values, wrong.shape):
            yield from _of_values(text, x, wrong)
        for other, leaf in named.items():
            same = values.shape == np.shape(leaf) == wrong.shape
            if same and other > path and is_floating(leaf) and is_floating(values):
                yield from _of_values(f"{path} - {other}", values - np.asarray(leaf), wrong)
        if np.issubdtype(values.dtype, np.integer) and wrong.ndim:
            ids, counts = np.unique(values, return_counts=True)
            repeated = ids[(counts > 1) & (ids >= 0) & (ids < wrong.shape[0])]
            mask = np.zeros(wrong.shape, bool)
            mask[repeated] = True
            yield Condition(f"in the rows that {path} names more than once", mask)


def _alongside(path: str, values: np.ndarray, shape: tuple[int, ...]) -> Iterator[tuple[str, np.ndarray]]:
    """The input itself where it has the shape, and spread over the last axes where it has fewer."""
    if values.shape == shape:
        yield path, values
    elif values.ndim and values.ndim < len(shape) and values.shape == shape[: values.ndim]:
        spread = values.reshape(values.shape + (1,) * (len(shape) - values.ndim))
        yield path, np.broadcast_to(spread, shape)


def _of_values(path: str, x: np.ndarray, wrong: Mask) -> Iterator[Condition]:
    if x.dtype == bool:
        yield Condition(f"where {path} holds", x)
        yield Condition(f"where {path} does not hold", ~x)
        return
    if not is_floating(x):
        for value in np.unique(x[wrong])[:3]:
            yield Condition(f"where {path} is {value}", x == value)
        return
    x = x.astype(np.float64)
    yield Condition(f"where {path} < 0", x < 0)
    yield Condition(f"where {path} > 0", x > 0)
    yield Condition(f"where {path} is 0", x == 0)
    for name, values in ((f"|{path}|", np.abs(x)), (path, x)):
        inside, outside = values[wrong], values[~wrong]
        if inside.size and outside.size and inside.min() > outside.max():
            text = f"where {name} > {_between(outside.max(), inside.min())}"
            yield Condition(text, values >= inside.min(), threshold=True)
        if inside.size and outside.size and inside.max() < outside.min():
            text = f"where {name} < {_between(inside.max(), outside.min())}"
            yield Condition(text, values <= inside.max(), threshold=True)


def _between(low: float, high: float) -> str:
    """The roundest number between two."""
    for digits in range(1, 8):
        text = f"{(low + high) / 2:.{digits}g}"
        if low <= float(text) <= high:
            return f"{float(text):.7g}"
    return f"{(low + high) / 2:.7g}"
