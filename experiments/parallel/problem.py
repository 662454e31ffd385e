"""A stack of blocks, its input and targets, and the mean of squares that it is trained on."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from experiments.common.errors import UserError
from experiments.parallel import decoder, perceptron
from jax_ref.ops import squared_error
from manual_bp.bridge import Op
from manual_bp.parallel import gpt

WIDTH, HIDDEN, HEADS = 16, 48, 4


class Problem(NamedTuple):
    """`block` is a pair with static options for mesh axes; `plain` the stack as a JAX user writes it.

    `specs(axis, size)` says how the params lie where `model` is that axis.
    """

    block: Op
    static: dict[str, Any]
    params: Any
    x: Array
    targets: Array
    plain: Callable[..., Array]
    specs: Callable[[str, int], Any]

    def cost(self, params: Any, x: Array, targets: Array) -> Array:
        """The mean over the examples, as a JAX user writes it."""
        return jnp.mean(squared_error.apply(self.plain(params, x), targets))


class Model(NamedTuple):
    """The problem of a seed and so many devices; what of it is split by kind, by name and number."""

    make: Callable[[int, int], Problem]
    split: dict[str, tuple[str, int] | None]


def _mlp(seed: int, devices: int) -> Problem:
    """As many perceptron blocks as devices, and two examples on each of them."""
    keys = jax.random.split(jax.random.key(seed), 3)
    x, targets = (jax.random.normal(key, (2 * devices, WIDTH), jnp.float64) for key in keys[1:])
    params = perceptron.init(keys[0], devices, WIDTH, HIDDEN)
    return Problem(perceptron, {}, params, x, targets, perceptron.plain, perceptron.specs)


def _gpt(seed: int, devices: int) -> Problem:
    """As many blocks of a decoder as devices, and two examples and three times on each of them."""
    keys = jax.random.split(jax.random.key(seed), 3)
    shape = (2 * devices, 3 * devices, WIDTH)
    x, targets = (jax.random.normal(key, shape, jnp.float64) for key in keys[1:])
    params = decoder.init(keys[0], devices, WIDTH, HIDDEN, HEADS)
    static = {"heads": HEADS, "rope_base": None}
    plain = partial(decoder.plain, heads=HEADS)
    return Problem(gpt, static, params, x, targets, plain, partial(decoder.specs, params, HEADS))


MODELS = {
    "mlp": Model(
        _mlp,
        {
            "data": None,
            "fsdp": None,
            "tensor": ("hidden features", HIDDEN),
            "pipeline": None,
            "private": None,
        },
    ),
    "gpt": Model(
        _gpt, {"data": None, "fsdp": None, "tensor": ("heads", HEADS), "sequence": None, "pipeline": None}
    ),
}
"""By name."""


def demand(model: str, kinds: tuple[str, ...], devices: int, mesh: str) -> None:
    """Raise `UserError` if a model cannot be split in these ways over so many devices."""
    split = MODELS[model].split
    for kind in kinds:
        if kind not in split:
            raise UserError(
                f"--kinds {kind} needs another model than {model}, which allows {', '.join(split)}."
            )
        name, length = split[kind] or ("", 0)
        if length % devices:
            raise UserError(f"{mesh}: --kinds {kind} needs {name} ({length}) to divide by {devices}.")
