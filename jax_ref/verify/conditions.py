"""Where a cotangent is wrong: the simplest condition on an input, or on the position, that says it."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.oracle import dtype_of, is_floating

Mask = np.ndarray


def where(args: PyTree, named: dict[str, Any], wrong: Mask) -> Iterator[tuple[str, Mask]]:
    """Conditions that could hold just where `wrong` does, each as text and as a mask of its shape.

    Positions first, then the inputs' values: thresholds lie between the values inside and outside.
    """
    if wrong.sum() == 1 and wrong.ndim:
        yield f"at one entry, {tuple(map(int, np.argwhere(wrong)[0]))}", wrong
    for axis, size in enumerate(wrong.shape):
        if size > 1:
            for text, index in (("first", 0), ("last", size - 1)):
                mask = np.zeros(wrong.shape, bool)
                mask[(slice(None),) * axis + (index,)] = True
                yield f"in the {text} entry of axis {axis}", mask
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
            yield f"in the rows that {path} names more than once", mask


def _alongside(path: str, values: np.ndarray, shape: tuple[int, ...]) -> Iterator[tuple[str, np.ndarray]]:
    """The input itself where it has the shape, and spread over the last axes where it has fewer."""
    if values.shape == shape:
        yield path, values
    elif values.ndim and values.ndim < len(shape) and values.shape == shape[: values.ndim]:
        spread = values.reshape(values.shape + (1,) * (len(shape) - values.ndim))
        yield path, np.broadcast_to(spread, shape)


def _of_values(path: str, x: np.ndarray, wrong: Mask) -> Iterator[tuple[str, Mask]]:
    if x.dtype == bool:
        yield f"where {path} holds", x
        yield f"where {path} does not hold", ~x
        return
    if not is_floating(x):
        for value in np.unique(x[wrong])[:3]:
            yield f"where {path} is {value}", x == value
        return
    x = x.astype(np.float64)
    yield f"where {path} < 0", x < 0
    yield f"where {path} > 0", x > 0
    yield f"where {path} is 0", x == 0
    inside, outside = np.abs(x[wrong]), np.abs(x[~wrong])
    if inside.size and outside.size:
        if inside.min() > outside.max():
            yield f"where |{path}| > {_between(outside.max(), inside.min())}", np.abs(x) >= inside.min()
        if inside.max() < outside.min():
            yield f"where |{path}| < {_between(inside.max(), outside.min())}", np.abs(x) <= inside.max()
        inside, outside = x[wrong], x[~wrong]
        if inside.min() > outside.max():
            yield f"where {path} > {_between(outside.max(), inside.min())}", x >= inside.min()
        if inside.max() < outside.min():
            yield f"where {path} < {_between(inside.max(), outside.min())}", x <= inside.max()


def _between(low: float, high: float) -> str:
    """The roundest number between two."""
    for digits in range(1, 8):
        text = f"{(low + high) / 2:.{digits}g}"
        if low <= float(text) <= high:
            return text
    return f"{(low + high) / 2:.7g}"
