"""A row of the benchmark: the hand-written function, its opponents, and their arguments."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax_ref.verify import oracle
from jax_ref.verify.subject import of_op

Function = Callable[..., Any]


class Alone(NamedTuple):
    """One of a row's steps by itself: its arguments, the hand-written function and that of `jax.grad`."""

    args: tuple[Any, ...]
    by_hand: Function
    by_grad: Function


class Row(NamedTuple):
    """The hand-written function, each opponent's, and the arguments they are timed on.

    A call is `steps` steps, each with `matmul_flops` floating point operations in matrix products. Where
    there is more than one, they are one program, and `alone` is a step without it. `static` are the options
    that both sides have. With `has_kinks` sides that round otherwise may have another gradient.
    """

    size: str
    args: tuple[Any, ...]
    by_hand: Function
    opponents: dict[str, Function]
    steps: int = 1
    matmul_flops: int | None = None
    alone: Alone | None = None
    static: Mapping[str, Any] = {}
    has_kinks: bool = False


class Draw:
    """Random float32 arrays and int32 labels whose dimensions are scaled."""

    def __init__(self, scale: float):
        self.scale = scale
        self.rng = np.random.default_rng(0)

    def dims(self, *dims: int) -> tuple[int, ...]:
        """The dimensions scaled, each at least 2."""
        return tuple(max(2, round(n * self.scale)) for n in dims)

    def real(self, *dims: int) -> jax.Array:
        """Normal values."""
        drawn = self.rng.standard_normal(self.dims(*dims), np.float32)
        drawn[np.isin(drawn, (-1, 0, 1))] = 0.5  # at a kink PyTorch's derivative is another
        return jnp.asarray(drawn)

    def uniform(self, *dims: int) -> jax.Array:
        """Values between 0 and 1."""
        return jnp.asarray(self.rng.random(self.dims(*dims), np.float32))

    def distinct(self, *dims: int) -> jax.Array:
        """Values between -4 and 4, no two of them the same: with ties sides may have other gradients."""
        dims = self.dims(*dims)
        order = self.rng.permutation(math.prod(dims)).reshape(dims)
        return jnp.asarray((8 * order / order.size - 4).astype(np.float32))

    def labels(self, classes: int, *dims: int) -> jax.Array:
        """Labels of so many classes, which are scaled too."""
        drawn = self.rng.integers(0, self.dims(classes)[0], self.dims(*dims), np.int32)
        return jnp.asarray(drawn)


def op_row(
    op: Any,
    reference: Function,
    args: tuple[Any, ...],
    draw: Draw,
    *,
    fused: dict[str, Function] | None = None,
    matmul_flops: int | None = None,
    **static: Any,
) -> Row:
    """The row of an op; `fused` are other ways to write its forward pass, as libraries have it, by name."""
    forward = partial(reference, **static)
    d_output = jax.tree.map(
        lambda y: jnp.asarray(draw.rng.standard_normal(y.shape, np.float32)), jax.eval_shape(forward, *args)
    )
    candidates = {"jax.grad": forward, "jax.checkpoint": jax.checkpoint(forward), **(fused or {})}
    opponents = {name: partial(oracle.value_and_vjp, f) for name, f in candidates.items()}
    size = " ".join("x".join(map(str, leaf.shape)) for leaf in jax.tree.leaves(args))
    by_hand = of_op(op, reference, **static).run
    return Row(size, (args, d_output), by_hand, opponents, matmul_flops=matmul_flops, static=static)
