"""Conditions on the position of an entry, or on an input, that could hold just where a cotangent is wrong."""

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax_ref.verify.trees import dtype_of, is_floating, is_integer

Mask = np.ndarray

BLOCKS = (2, 4, 8, 16, 32)
"""The sizes of blocks that work is usually done in."""

REPEATED = "in the rows that {} names more than once"
"""Said of an integer argument, whose repeated values are indices."""


class Condition(NamedTuple):
    """Text and a mask of where it holds."""

    text: str
    mask: Mask


class Threshold(NamedTuple):
    """Text without the number, and two values that the number lies between."""

    text: str
    low: float
    high: float


def where(named: dict[str, Any], wrong: Mask) -> Iterator[Condition]:
    """Conditions without a threshold that could hold just where `wrong` does, the most telling first."""
    if wrong.sum() == 1 and wrong.ndim:
        yield Condition(f"at one entry, {tuple(map(int, np.argwhere(wrong)[0]))}", wrong)
    for axis, size in enumerate(wrong.shape):
        at = np.flatnonzero(wrong.any(tuple(a for a in range(wrong.ndim) if a != axis)))
        single = {f"entry {i}": i for i in at if len(at) == 1}
        for which, index in ({"the first entry": 0, "the last entry": size - 1} | single).items():
            mask = np.zeros(wrong.shape, bool)
            mask[(slice(None),) * axis + (index,)] = True
            yield Condition(f"in {which} of axis {axis}", mask)
    for name, x in _values(named, wrong.shape):
        yield from _of_values(name, x, wrong)
    for path, leaf in named.items():
        if not _has_values(leaf):
            continue
        values = np.asarray(leaf)
        if is_integer(values) and wrong.ndim:
            ids, counts = np.unique(values, return_counts=True)
            repeated = ids[(counts > 1) & (ids >= 0) & (ids < wrong.shape[0])]
            yield Condition(REPEATED.format(path), _rows(repeated, wrong.shape))
            rows = _rows(ids[(ids >= 0) & (ids < wrong.shape[0])], wrong.shape)
            yield Condition(f"in the rows that {path} does not name", ~rows)
            yield from _named_in_rows(path, values, wrong.shape)
    yield from _of_blocks(wrong.shape)
    yield from _of_diagonals(wrong.shape)  # last: of few entries there are many sides


def _rows(which: np.ndarray, shape: tuple[int, ...]) -> Mask:
    mask = np.zeros(shape, bool)
    mask[which] = True
    return mask


def _of_blocks(shape: tuple[int, ...]) -> Iterator[Condition]:
    """What is left over where the entries along an axis are taken in blocks."""
    for axis, size in enumerate(shape):
        for block in BLOCKS:
            whole = size // block * block
            if whole not in (0, size, size - 1):  # of one left over it is said that it is the last
                rows = np.arange(size).reshape(-1, *(1,) * (len(shape) - axis - 1)) >= whole
                text = f"after the last whole block of {block} entries along axis {axis}"
                yield Condition(text, np.broadcast_to(rows, shape))


def _of_diagonals(shape: tuple[int, ...]) -> Iterator[Condition]:
    """On the diagonal of a matrix, and to either side of it, with it or without."""
    for a, b in itertools.combinations(range(len(shape)), 2):
        if min(shape[a], shape[b]) < 2:
            continue
        index = np.indices(shape, sparse=True)
        i, j = index[a], index[b]
        of = f"the diagonal of axes {a} and {b}"
        for text, mask in (
            (f"on {of}", i == j),
            (f"next to {of}, above", i == j - 1),
            (f"next to {of}, below", i == j + 1),
            (f"above {of}", i < j),
            (f"below {of}", i > j),
            (f"on {of} and above", i <= j),
            (f"on {of} and below", i >= j),
        ):
            yield Condition(text, np.broadcast_to(mask, shape))


def _named_in_rows(path: str, ids: np.ndarray, shape: tuple[int, ...]) -> Iterator[Condition]:
    """At the entry along the last axis that an integer of each row names, as a label, or not there."""
    if ids.shape == shape[:-1] and np.all((ids >= 0) & (ids < shape[-1])):
        named = np.arange(shape[-1]) == ids[..., None]
        yield Condition(f"at the entry of each row that {path} names", named)
        yield Condition(f"at the entries of each row that {path} does not name", ~named)


def thresholds(named: dict[str, Any], wrong: Mask) -> Iterator[Threshold]:
    """Thresholds of an input of floating point, or of its magnitude, that separate `wrong` from the rest."""
    for path, x in _values(named, wrong.shape):
        if not is_floating(x):
            continue
        for name, values in ((f"|{path}|", np.abs(x)), (path, x)):
            inside, outside = values[wrong].astype(np.float64), values[~wrong].astype(np.float64)
            low, high = float(np.max(outside, initial=-np.inf)), float(np.min(inside, initial=np.inf))
            if low < high:
                yield Threshold(f"where {name} >", low, high)
            low, high = float(np.max(inside, initial=-np.inf)), float(np.min(outside, initial=np.inf))
            if low < high:
                yield Threshold(f"where {name} <", low, high)


def _values(named: dict[str, Any], shape: tuple[int, ...]) -> Iterator[tuple[str, np.ndarray]]:
    """What each entry of a cotangent can depend on: inputs of its shape or less, and differences of two."""
    for path, leaf in named.items():
        if not _has_values(leaf):
            continue
        values = np.asarray(leaf)
        if values.shape == shape:
            yield path, values
        elif values.ndim and values.ndim < len(shape) and values.shape == shape[: values.ndim]:
            spread = values.reshape(values.shape + (1,) * (len(shape) - values.ndim))
            yield path, np.broadcast_to(spread, shape)
        for axis in range(1, len(shape)) if values.ndim == 1 else ():
            if shape[axis] == len(values):
                along = values.reshape(-1, *(1,) * (len(shape) - axis - 1))
                yield f"{path}, along axis {axis},", np.broadcast_to(along, shape)
        for other, leaf in named.items():
            same = values.shape == np.shape(leaf) == shape
            if same and other > path and is_floating(leaf) and is_floating(values):
                yield f"{path} - {other}", values - np.asarray(leaf)


def _has_values(leaf: Any) -> bool:
    return hasattr(leaf, "shape") and not jnp.issubdtype(dtype_of(leaf), jax.dtypes.prng_key)


def _of_values(path: str, x: np.ndarray, wrong: Mask) -> Iterator[Condition]:
    if x.dtype == bool:
        yield Condition(f"where {path} holds", x)
        yield Condition(f"where {path} does not hold", ~x)
    elif is_floating(x):
        yield Condition(f"where {path} < 0", x < 0)
        yield Condition(f"where {path} > 0", x > 0)
        yield Condition(f"where {path} is 0", x == 0)
    else:
        for value in np.unique(x[wrong])[:3]:
            yield Condition(f"where {path} is {value}", x == value)


def between(low: float, high: float) -> str:
    """The roundest number between two."""
    middle = (low + high) / 2
    for digits in range(1, 8):
        text = f"{middle:.{digits}g}"
        if low <= float(text) <= high:
            return f"{float(text):.7g}"
    return f"{middle:.7g}"
