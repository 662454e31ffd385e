"""The places at which gradients are checked: layers, and the numbers of the examples of a batch.

start     a batch, at the initialisation that is trained
trained   the same batch, after training with the right gradient
zeros     the start, but biases and output weights 0, as many begin, and targets one-hot: at such a
place some of the wrong gradients are right
drawn     layers, inputs and targets all from the ordinary rung of `jax_ref.verify.inputs`
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from experiments.mistakes.author import Examples, Numbers
from jax_ref.verify import inputs
from manual_bp.textbook.columns import Network

NAMES = ("start", "trained", "zeros", "drawn")


class Place(NamedTuple):
    """Where a gradient is checked."""

    layers: Network
    numbers: Numbers


class Batch(NamedTuple):
    """What the places of one network are made of; `one_hot` are the classes of the examples."""

    start: Network
    trained: Network
    X: Float[Array, "I B"]
    Y: Float[Array, "O B"]
    one_hot: Float[Array, "O B"]


def of(batches: list[Batch], rng: np.random.Generator) -> tuple[Examples, dict[str, list[Place]]]:
    """The places of each name, one for each batch, and the examples of all of them."""
    examples: list[tuple[Array, Array]] = []
    places: dict[str, list[Place]] = {name: [] for name in NAMES}
    before = 0
    for batch in batches:
        for name, (layers, X, Y) in zip(NAMES, _four(batch, rng), strict=True):
            places[name].append(Place(layers, jnp.arange(before, before + X.shape[1])))
            examples.append((X, Y))
            before += X.shape[1]
    X, Y = (jnp.asarray(np.concatenate(parts, 1), jnp.float32) for parts in zip(*examples, strict=True))
    return Examples(X, Y), places


def _four(batch: Batch, rng: np.random.Generator) -> list[tuple[Network, Array, Array]]:
    """Layers, inputs and targets of each place, in the order of `NAMES`."""
    start, trained, X, Y, one_hot = jax.tree.map(np.asarray, batch)
    *hidden, last = (layer._replace(b=np.zeros_like(layer.b)) for layer in start)
    zeros = (*hidden, last._replace(W=np.zeros_like(last.W)))
    return [
        (start, X, Y),
        (trained, X, Y),
        (zeros, X, one_hot),
        inputs.redraw((start, X, Y), "ordinary", rng),
    ]
