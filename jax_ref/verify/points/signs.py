"""Points at which some leaves are all positive and others all negative, each pair of leaves at one at least.

A product of two leaves keeps its sign where both are scaled or negated together. With the leaves numbered,
those with a binary digit of 1 are negative: any two numbers differ in a digit, so that there are as many
points as digits.
"""

from collections.abc import Iterator

import jax
import numpy as np
from jaxtyping import PyTree

from jax_ref.verify.points import ladder
from jax_ref.verify.trees import is_floating

OPPOSITE = {"opposite signs": abs, "large, opposite signs": lambda x: abs(ladder.large(x))}
"""From the values of a leaf to their magnitudes. Those that are positive in one are negative in the other."""


def moved(args: tuple[PyTree, ...], rng: np.random.Generator) -> Iterator[tuple[str, tuple[PyTree, ...]]]:
    """The names of the points, and arguments there."""
    leaves, tree = jax.tree.flatten(args)
    floating = [i for i, x in enumerate(leaves) if is_floating(x) and x.size]
    for digit in range((len(floating) - 1).bit_length() if len(floating) > 1 else 0):
        negative = {i for number, i in enumerate(floating) if number >> digit & 1}
        for (name, magnitude), sign in zip(OPPOSITE.items(), (1, -1), strict=True):
            moved = [
                (magnitude(x.astype(np.float64)) * (-sign if i in negative else sign)).astype(x.dtype)
                if i in floating
                else x
                for i, x in enumerate(leaves)
            ]
            yield name, jax.tree.unflatten(tree, moved)
