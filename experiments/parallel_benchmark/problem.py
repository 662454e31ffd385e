"""The gradient that rows of a decoder's blocks compute: sizes, random arguments, and that of one device."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from experiments.parallel import decoder
from experiments.parallel_benchmark import user
from manual_bp.models.gpt import Block


class Sizes(NamedTuple):
    """Layers, features of a token, hidden features, heads, examples, and their tokens."""

    layers: int
    width: int
    hidden: int
    heads: int
    batch: int
    times: int

    def __str__(self) -> str:
        return f"L{self.layers} C{self.width} F{self.hidden} H{self.heads} B{self.batch} T{self.times}"


SMALL = Sizes(layers=2, width=16, hidden=24, heads=4, batch=4, times=8)
"""At which the sides are held against one device."""


class Problem(NamedTuple):
    """Params, input and targets of a stack of blocks."""

    sizes: Sizes
    params: Block
    x: Array
    targets: Array

    @property
    def args(self) -> tuple[Block, Array, Array]:
        """Of every side."""
        return self.params, self.x, self.targets

    @property
    def static(self) -> dict[str, Any]:
        """Options of the hand-written block."""
        return {"heads": self.sizes.heads, "rope_base": None}

    def layer(self, **options: Any) -> Any:
        """The block as a user writes it."""
        return partial(user.block, heads=self.sizes.heads, **options)

    def plain(self, **options: Any) -> Any:
        """The gradient of one device."""
        layer = self.layer(**options)
        return jax.value_and_grad(lambda p, x, targets: user.cost(user.stack(layer, p, x), targets))


def of(sizes: Sizes, seed: int, dtype: Any) -> Problem:
    """A random problem."""
    keys = jax.random.split(jax.random.key(seed), 3)
    params = decoder.init(keys[0], sizes.layers, sizes.width, sizes.hidden, sizes.heads)
    shape = (sizes.batch, sizes.times, sizes.width)
    x, targets = (jax.random.normal(key, shape, jnp.float64) for key in keys[1:])
    return Problem(sizes, *jax.tree.map(lambda y: y.astype(dtype), (params, x, targets)))
