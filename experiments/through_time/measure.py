"""Bands of ||dh_t|| and of (2) over the draws, and the factor that (3) or (4) expects."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common import memory, study
from experiments.common.options import Between, Count, OneOf
from experiments.through_time import networks
from experiments.through_time.norms import mean_field, norms
from experiments.vanishing.bands import band
from manual_bp.ops import gru, lstm, rnn


@dataclasses.dataclass(frozen=True)
class Settings(study.Settings):
    """What this study can be told."""

    gains: tuple[Annotated[float, Between(1e-3, 1e3)], ...] = (0.5, 1.0, 2.0, 4.0)
    """Gains of the plain network's recurrent weights."""
    activation: Annotated[str, OneOf(rnn.ACTIVATIONS)] = "tanh"
    """Activation of the plain network."""
    biases: tuple[Annotated[float, Between(-20, 20)], ...] = (0.0, 1.0, 5.0)
    """Biases of the LSTM's forget gate and of the GRU's update gate."""
    steps: Annotated[int, Between(2, 10_000)] = 100
    """Steps of a sequence."""
    width: Count = 64
    """Features of the state."""
    draws: Count = 30
    """Networks of every kind, each with a sequence of its own."""


def measure(settings: Settings) -> study.Figures:
    """Bands of the norms and of the factor over the draws, for every kind of network."""
    weights = 8 * settings.width * max(settings.width, networks.FEATURES)
    memory.require(f"--width {settings.width}", 8 * (weights + 16 * settings.steps * settings.width))
    kinds: list[dict[str, Any]] = []
    for gain in settings.gains:
        make = functools.partial(
            networks.plain, width=settings.width, gain=gain, activation=settings.activation
        )
        found, hs = _draws(settings, make)
        expected = np.asarray([mean_field(h, gain, settings.activation) for h in hs])
        kinds.append(_kind("rnn", "gain", gain, found, float(np.median(expected))))  # (3)
    for op, name in ((lstm, "lstm"), (gru, "gru")):
        for bias in settings.biases:
            make = functools.partial(networks.gated, op, width=settings.width, bias=bias)
            found, _ = _draws(settings, make)
            kinds.append(_kind(name, "bias", bias, found, 1 / (1 + math.exp(-bias))))  # (4)
    return {"steps": settings.steps, "activation": settings.activation, "kinds": kinds}


def _draws(
    settings: Settings, make: Callable[[jax.Array], networks.Network]
) -> tuple[np.ndarray, np.ndarray]:
    """The norms (draws, T+1) and the states (draws, T, H) of networks of one kind."""

    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        of_network, of_x, of_dh = jax.random.split(key, 3)
        x = jax.random.normal(of_x, (settings.steps, networks.FEATURES), jnp.float64)
        dh = jax.random.normal(of_dh, (settings.width,), jnp.float64)
        return norms(make(of_network), x, dh / jnp.linalg.norm(dh))

    keys = jax.random.split(jax.random.key(settings.seed), settings.draws)
    found, hs = jax.jit(functools.partial(jax.lax.map, draw))(keys)
    return np.asarray(found), np.asarray(hs)


def _kind(cell: str, parameter: str, value: float, found: np.ndarray, expected: float) -> dict[str, Any]:
    steps = found.shape[1] - 1
    return {
        "cell": cell,
        parameter: value,
        "norm": [band(step) for step in found.T[::-1]],  # from the last step back
        "factor": band((found[:, 0] / found[:, -1]) ** (1 / steps)),  # (2)
        "expected": expected,
    }
