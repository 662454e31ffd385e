"""A stack of blocks, its input and targets, and the mean of squares that it is trained on."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from experiments.common.errors import UserError
from experiments.parallel import perceptron
from jax_ref.ops import squared_error
from manual_bp.bridge import Op

WIDTH, HIDDEN = 12, 48


class Problem(NamedTuple):
    """`block` is a pair with static options for mesh axes; `plain` the stack as a JAX user writes it.

    `specs(axis)` says how the params lie where `model` is that axis. `lengths` are those of the model that a
    kind splits, by kind, each with its name.
    """

    block: Op
    static: dict[str, Any]
    params: Any
    x: Array
    targets: Array
    plain: Callable[..., Array]
    specs: Callable[[str], Any]
    lengths: dict[str, tuple[str, int]]

    def cost(self, params: Any, x: Array, targets: Array) -> Array:
        """The mean over the examples, as a JAX user writes it."""
        return jnp.mean(squared_error.apply(self.plain(params, x), targets))


def mlp(seed: int, devices: int) -> Problem:
    """As many perceptron blocks as devices, and two examples on each of them."""
    keys = jax.random.split(jax.random.key(seed), 3)
    x, targets = (jax.random.normal(key, (2 * devices, WIDTH), jnp.float64) for key in keys[1:])
    params = perceptron.init(keys[0], devices, WIDTH, HIDDEN)
    lengths = {"tensor": ("hidden features", HIDDEN)}
    return Problem(perceptron, {}, params, x, targets, perceptron.plain, perceptron.specs, lengths)


PROBLEMS: dict[str, Callable[[int, int], Problem]] = {"mlp": mlp}
"""By the name of the model."""

KINDS = {"mlp": ("data", "fsdp", "tensor", "pipeline")}
"""The kinds of parallelism that a model allows."""


def demand(model: str, kinds: tuple[str, ...], devices: int, mesh: str) -> None:
    """Raise `UserError` if a model cannot be split in these ways over so many devices."""
    lengths = {"mlp": {"tensor": ("hidden features", HIDDEN)}}[model]
    for kind in kinds:
        if kind not in KINDS[model]:
            raise UserError(
                f"--kinds {kind} needs another model than {model}; expected {', '.join(KINDS[model])}."
            )
        name, length = lengths.get(kind, ("", 0))
        if length % devices:
            raise UserError(f"{mesh}: --kinds {kind} needs {name} ({length}) to divide by {devices}.")
