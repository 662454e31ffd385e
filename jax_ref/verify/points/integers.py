"""Points with other integers in place of an example's: repeated, distinct, sorted and not, zeros, the ends.

What integers are valid is told by the example's. They stay between the least and the largest of them, and
zero where that is less. Those that add up to the length of an axis are sizes of groups, and go on doing so;
sorted ones from 0 to such a length are offsets, and stay sorted.
"""

from collections.abc import Callable, Iterator

import jax
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.trees import is_floating, is_integer

Values = np.ndarray
Draw = Callable[[np.random.Generator, Values], Values | None]


def _distinct(rng: np.random.Generator, x: Values) -> Values | None:
    """Distinct along the last axis; None where there are too few values for that."""
    values = _range(x)
    length = x.shape[-1] if x.ndim else 1
    if len(values) < length:
        return None
    rows = [rng.choice(values, length, replace=False) for _ in range(x.size // max(length, 1))]
    return np.reshape(rows, x.shape)


def _repeated(rng: np.random.Generator, x: Values) -> Values:
    """Two values, each of them several times."""
    return rng.choice(rng.choice(_range(x), 2), x.shape)


def _ends(rng: np.random.Generator, x: Values) -> Values:
    return rng.choice([x.min(), x.max()], x.shape)


def _with_zeros(rng: np.random.Generator, x: Values) -> Values:
    return np.where(rng.random(x.shape) < 0.5, 0, x)


def _sorted(draw: Draw) -> Draw:
    def drawn(rng: np.random.Generator, x: Values) -> Values | None:
        values = draw(rng, x)
        return values if values is None or not values.ndim else np.sort(values, -1)

    return drawn


LIMIT = 10**6
"""The longest range that is drawn from; of a longer one the example's own values are."""

IDS: dict[str, Draw] = {
    "distinct integers": _distinct,
    "distinct integers, sorted": _sorted(_distinct),
    "repeated integers": _repeated,
    "repeated integers, sorted": _sorted(_repeated),
    "equal integers": lambda rng, x: np.full(x.shape, rng.choice(x.ravel())),
    "integers with zeros": _with_zeros,
    "integers at both ends": _ends,
}
"""Names of points, and from the values of a leaf to others; None where there are none."""


def _cut(rng: np.random.Generator, x: Values) -> Values:
    """Sizes with the same sum: the gaps between random cuts, some of which coincide."""
    return np.diff(_offsets(rng, np.cumsum([0, *x])))


def _one_group(rng: np.random.Generator, x: Values) -> Values:
    sizes = np.zeros_like(x)
    sizes[rng.integers(len(x))] = x.sum()
    return sizes


def _offsets(rng: np.random.Generator, x: Values) -> Values:
    """Sorted offsets with the same ends, of which two are equal where there are more than those."""
    inner = np.sort(rng.integers(x[0], x[-1] + 1, len(x) - 2))
    return np.concatenate([x[:1], np.repeat(inner[:1], len(inner[:2])), inner[2:], x[-1:]])


SIZES: dict[str, Draw] = {
    "integers with zeros": _cut,
    "equal integers": lambda rng, x: np.full_like(x, x.sum() // len(x)) if x.sum() % len(x) == 0 else None,
    "integers at both ends": _one_group,
}
OFFSETS: dict[str, Draw] = {
    "repeated integers, sorted": _offsets,
    "integers at both ends": lambda rng, x: np.sort(rng.choice(x[[0, -1]], len(x))),
}


def moved(args: tuple[PyTree, ...], rng: np.random.Generator) -> Iterator[tuple[str, tuple[PyTree, ...]]]:
    """The names of the points, and arguments there, with all leaves of integers changed at once."""
    leaves, tree = jax.tree.flatten(args)
    lengths = {n for x in leaves if is_floating(x) for n in np.shape(x)}
    draws = {
        i: _draws(np.asarray(x), lengths)
        for i, x in enumerate(leaves)
        if is_integer(x) and np.size(x) and np.min(x) != np.max(x)
    }
    for name in IDS:
        others = {
            i: values
            for i, draw in draws.items()
            if name in draw and (values := draw[name](rng, np.asarray(leaves[i], np.int64))) is not None
        }
        if others:
            changed = [others[i].astype(x.dtype) if i in others else x for i, x in enumerate(leaves)]
            yield name, jax.tree.unflatten(tree, changed)


def _draws(x: Values, lengths: set[int]) -> dict[str, Draw]:
    """What is drawn for a leaf, by what its values say that it is."""
    if x.ndim == 1 and len(x) > 2 and x[0] == 0 and x[-1] in lengths and np.all(np.diff(x) >= 0):
        return OFFSETS
    if x.ndim == 1 and np.all(x >= 0) and x.sum() in lengths:
        return IDS if len(x) in lengths else SIZES
    return IDS


def _range(x: Values) -> Values:
    """All from the least to the largest; of negative ones, which often have a meaning, those given."""
    found, largest = np.unique(x), int(x.max())
    least = int(found[found >= 0].min(initial=largest))
    if largest - least > LIMIT:
        return found
    return np.concatenate([found[found < 0], np.arange(least, largest + 1)])
