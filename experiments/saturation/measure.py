"""One neuron and networks on real data, from both starts and with both costs."""

import dataclasses
import itertools
from functools import partial
from typing import Annotated

import jax
import jax.numpy as jnp

from experiments import data
from experiments.common import errors, memory, study
from experiments.common.options import Count, OneOf
from experiments.data import SOURCES
from experiments.saturation import network, neuron
from experiments.saturation.costs import COSTS

LIMITS = {
    **dict.fromkeys(("neuron_epochs", "epochs", "inits"), (1, 10_000)),
    **dict.fromkeys(("neuron_rate", "learning_rate"), (1e-6, 100)),
    "output_bias": (0, 30),  # beyond it s(z) rounds to 1
}
"""The least and the largest that an option can be."""


@dataclasses.dataclass(frozen=True)
class Settings(study.Settings):
    """What this study can be told."""

    neuron_epochs: int = 300
    """Steps of the one neuron."""
    neuron_rate: float = 0.15
    """The one neuron's learning rate, with both costs."""
    data: Annotated[str, OneOf(SOURCES)] = "digits"
    """What the network learns; mnist takes far longer."""
    hidden: tuple[Count, ...] = (30,)
    """Width of every hidden layer of the network."""
    output_bias: float = 8.0
    """Output biases of the bad start."""
    learning_rate: float = 0.5
    """The network's learning rate, with both costs."""
    batch_size: int = 32
    """Examples per step of the network."""
    epochs: int = 120
    """Passes of the network over the training data."""
    inits: int = 5
    """Initialisations of the network; what is shown is the median over them."""


def measure(settings: Settings) -> study.Figures:
    """The one neuron and the networks, from both starts and with both costs."""
    (x, y), _, classes = data.rows(data.load(settings.data, None))
    for option, (low, high) in {**LIMITS, "batch_size": (1, len(x))}.items():
        value = getattr(settings, option)
        if not low <= value <= high:
            raise errors.UserError(f"--{option.replace('_', '-')} was {value}; expected {low} to {high}.")
    if any(width < 1 for width in settings.hidden):
        raise errors.UserError(f"--hidden was {settings.hidden}; expected positive widths.")
    widths = (x.shape[1], *settings.hidden, classes)
    weights = settings.inits * sum(i * o for i, o in itertools.pairwise(widths))
    memory.require(f"--hidden {' '.join(map(str, settings.hidden))}", 2 * 8 * weights)
    x, t = jnp.asarray(x, jnp.float64), jax.nn.one_hot(jnp.asarray(y), classes, dtype=jnp.float64)
    keys = jax.random.split(jax.random.key(settings.seed + 1), settings.inits)
    train = partial(
        network.train,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        number=settings.epochs,
    )
    runs = {cost: jax.jit(jax.vmap(partial(train, cost=cost), (0, 0, None, None))) for cost in COSTS}
    networks = network.starts(jax.random.key(settings.seed), settings.inits, widths, settings.output_bias)
    descend = partial(neuron.figures, rate=settings.neuron_rate, number=settings.neuron_epochs)
    return {
        "neuron": {start: {cost: descend(start, cost) for cost in COSTS} for start in neuron.STARTS},
        "network": {
            start: {cost: network.figures(run(params, keys, x, t)) for cost, run in runs.items()}
            for start, params in networks.items()
        },
    }
