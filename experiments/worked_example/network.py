"""The network of the example: two inputs, two hidden neurons, two outputs, and short numbers.

They are chosen so that nothing is right by chance: no matrix is symmetric, no two weights are equal in size,
and no derivative is that of another neuron.
"""

from typing import NamedTuple

import numpy as np

WEIGHTS = np.array([[[0.2, -0.4], [0.6, 0.1]], [[0.5, -0.7], [-0.3, 0.8]]])
"""W[k, i, j], from neuron j of layer k to neuron i of the next."""

BIASES = np.array([[0.1, 0.2], [0.4, -0.1]])

WIDTH = LAYERS = 2
BOTH = (1, 2)
"""The neurons of a layer, and the layers, as the notes count them."""


class Example(NamedTuple):
    """The network above with an example of inputs and targets, and how it is trained."""

    inputs: tuple[float, float]
    targets: tuple[float, float]
    learning_rate: float
    activation: str
    """Of the hidden layer: sigmoid or tanh."""
    head: str
    """quadratic, with sigmoid outputs, or cross_entropy, with softmax."""
