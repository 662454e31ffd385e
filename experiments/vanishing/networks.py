"""Random networks, many at a time, by the name of an initialisation."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from manual_bp.models import mlp
from manual_bp.ops import dense

NORMAL = {"unit_normal": lambda features: 1.0, "fan_in": lambda features: features**-0.5}
"""Standard deviation of the weights of a layer with so many features in; that of the biases is 1."""

INITIALIZATIONS = (*NORMAL, "glorot", "he", "near_zero")


def networks(key: Key[Array, ""], draws: int, widths: Sequence[int], initialization: str) -> mlp.Params:
    """`draws` networks of the given widths, input and output included: params with a leading axis."""
    keys = jax.random.split(key, (len(widths) - 1, draws))
    layers = zip(keys, widths[:-1], widths[1:], strict=True)
    return mlp.Params(tuple(_layer(k, i, o, initialization) for k, i, o in layers))


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _layer(keys: Key[Array, "N"], features: int, out: int, initialization: str) -> dense.Params:
    """One program for all hidden layers; a map, as a vmap would take longer to compile."""
    if initialization not in NORMAL:
        init = functools.partial(dense.init, initializer=initialization, dtype=jnp.float64)
        return jax.lax.map(lambda key: init(key, features, out), keys)
    draws = jax.lax.map(lambda key: jax.random.normal(key, (features + 1, out), jnp.float64), keys)
    return dense.Params(NORMAL[initialization](features) * draws[:, :-1], draws[:, -1])


def shallower(params: mlp.Params, depth: int) -> mlp.Params:
    """The first `depth` hidden layers and the output layer: networks of all depths share their draws."""
    return mlp.Params((*params.layers[:depth], params.layers[-1]))
