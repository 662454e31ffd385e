"""The domain of a function, into which points are brought: open intervals, or what a user's function makes.

A value beyond an end of its interval is reflected there, so that large values stay large where there is room
for them; one that still is not inside, as an end itself, is taken a little way in.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.points.point import Point
from jax_ref.verify.trees import floats, is_floating, labelled

INWARD = 1e-3
"""How far from an end a value is taken, in units of the interval's length, or of one if that is longer."""

Args = tuple[PyTree, ...]


def within(domain: Any, args: Args, names: tuple[str, ...]) -> Args:
    """The arguments, inside of the domain."""
    if domain is None:
        return args
    if isinstance(domain, Mapping):
        leaves = labelled(args, names)
        inside = [_inside(x, _interval(domain, path)) for path, x in leaves.items()]
        return jax.tree.unflatten(jax.tree.structure(args), inside)
    return _made_valid(domain, args)


def at(domain: Any, point: Point, names: tuple[str, ...]) -> Point:
    """The point, inside of the domain; its name and cotangent stay."""
    return point if domain is None else point._replace(args=within(domain, point.args, names))


def is_usable(point: Point) -> bool:
    """Whether the user's function has made numbers of it: a dtype's range may be too short for that."""
    return all(np.all(np.isfinite(np.asarray(x, np.float64))) for x in floats(point.args))


def outside(domain: Mapping[str, tuple[float, float]], args: Args, names: tuple[str, ...]) -> str:
    """The first of the leaves that has a value outside, in words; nothing if none has."""
    for path, x in labelled(args, names).items():
        interval = _interval(domain, path)
        if interval is None or not is_floating(x):
            continue
        values = np.asarray(x, np.float64)
        bad = values[~((values > interval[0]) & (values < interval[1]))]
        if bad.size:
            return f"{path} has {bad[0]:g}; domain says that it is inside of {interval}"
    return ""


def names_a_leaf(path: str, known: Mapping[str, Any]) -> bool:
    """Whether it is the path of a leaf, or of a tree of leaves."""
    return any(_covers(path, leaf) for leaf in known)


def _covers(path: str, leaf: str) -> bool:
    return leaf == path or leaf.startswith((f"{path}.", f"{path}["))


def _interval(domain: Mapping[str, tuple[float, float]], leaf: str) -> tuple[float, float] | None:
    """That of the longest path that covers a leaf."""
    covering = [path for path in domain if _covers(path, leaf)]
    return domain[max(covering, key=len)] if covering else None


def _inside(x: Any, interval: tuple[float, float] | None) -> Any:
    if interval is None or not is_floating(x):
        return x
    low, high = map(float, interval)
    values = np.asarray(x, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        if math.isfinite(low) and math.isfinite(high):
            period = 2 * (high - low)
            reflected = np.mod(values - low, period)
            reflected = low + np.minimum(reflected, period - reflected)
        elif math.isfinite(low):
            reflected = low + np.abs(values - low)
        else:
            reflected = high - np.abs(values - high) if math.isfinite(high) else values
        values = np.where((values > low) & (values < high), values, reflected)
    step = INWARD * min(1.0, high - low)
    # as the dtype rounds it: what is inside in float64 may be an end in bfloat16
    rounded = np.asarray(values.astype(x.dtype), np.float64)
    inside = np.where(rounded <= low, low + step, np.where(rounded >= high, high - step, rounded))
    return _strictly(inside, low, high, x.dtype)


def _strictly(values: np.ndarray, low: float, high: float, dtype: Any) -> np.ndarray:
    """The values in a dtype, with the numbers next to the ends where rounding reaches them."""
    found = values.astype(dtype)
    middle = (
        (low + high) / 2
        if math.isfinite(low) and math.isfinite(high)
        else low + 1
        if math.isfinite(low)
        else high - 1
    )
    exact = np.asarray(found, np.float64)
    reached = ~((exact > low) & (exact < high))  # NaN and infinities too
    return np.where(reached, np.asarray(middle).astype(dtype), found).astype(dtype)


def _made_valid(make: Callable[..., Any], args: Args) -> Args:
    """What the user's function makes of the arguments, in their shapes and dtypes."""
    made = make(*args)
    made = made if isinstance(made, tuple) and len(args) > 1 else made if _is_one(made, args) else (made,)
    leaves, tree = jax.tree.flatten(args)
    if jax.tree.structure(made) != tree:
        raise TypeError(
            f"verify: domain returned {jax.tree.structure(made)}; expected {tree}, as the arguments are"
        )
    valid = []
    for x, y in zip(leaves, jax.tree.leaves(made), strict=True):
        if np.shape(x) != np.shape(y):
            raise ValueError(
                f"verify: domain returned an array of shape {np.shape(y)}; expected {np.shape(x)}"
            )
        valid.append(np.asarray(y).astype(x.dtype) if not _is_key(x) else y)
    return jax.tree.unflatten(tree, valid)


def _is_one(made: Any, args: Args) -> bool:
    """Whether it is the tuple of one argument, and not the argument."""
    return isinstance(made, tuple) and jax.tree.structure(made) == jax.tree.structure(args)


def _is_key(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
