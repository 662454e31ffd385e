"""What people get wrong who write backpropagation for the first time, beside what is in the notes."""

from jaxtyping import Array

from manual_bp.textbook.columns import Layer, Network
from manual_bp.textbook.errata.mistake import Mistake
from manual_bp.textbook.errata.steps import CROSS_ENTROPY, QUADRATIC, by
from manual_bp.textbook.functions import sigmoid_derivative
from manual_bp.textbook.index_and_vector_forms import augment


def _augmented_column_carried_back(layer: Layer, grad: Layer, D: Array, Z: Array, A: Array) -> Array:
    """W~ whole on the way back, cut at the wrong end: the bias column comes back as a neuron's delta."""
    return (augment(layer).T @ D)[1:] * sigmoid_derivative(Z)


def _transposed_if_square(layer: Layer, grad: Layer, D: Array, Z: Array, A: Array) -> Array:
    back = layer.W if layer.W.shape[0] == layer.W.shape[1] else layer.W.T
    return (back @ D) * sigmoid_derivative(Z)


def _derivative_at_a(layer: Layer, grad: Layer, D: Array, Z: Array, A: Array) -> Array:
    return (layer.W.T @ D) * sigmoid_derivative(A)


def _last_example_dropped(layers: Network, X: Array, Y: Array) -> Network:
    kept = by(QUADRATIC)(layers, X[:, :-1], Y[:, :-1])
    share = (X.shape[1] - 1) / X.shape[1]
    return tuple(Layer(share * dW, share * db) for dW, db in kept)


MISTAKES = {
    "augmented column carried back": Mistake(
        "classic",
        "delta^(k) = (W~^T delta^(k+1)) * s'(z), with W~ whole and one entry too many cut from the front",
        "W~ without its last column",
        "delta_i is that of neuron i + 1, the last one b^T delta^(k+1)",
        by(QUADRATIC, hidden_delta=_augmented_column_carried_back),
    ),
    "s' missing with squared error": Mistake(
        "classic",
        "output delta a - y",
        "(a - y) * s'(z)",
        "output delta divided by s'(z): 4 times or more too large",
        by(QUADRATIC, output_delta=lambda z, a, Y: a[-1] - Y),
    ),
    "s' kept with cross-entropy": Mistake(
        "classic",
        "output delta (a - y) * s'(z)",
        "a - y",
        "output delta times s'(z): 4 times or more too small",
        by(CROSS_ENTROPY, output_delta=lambda z, a, Y: (a[-1] - Y) * sigmoid_derivative(z[-1])),
        "softmax",
        "cross_entropy",
    ),
    "weight transposed on a square layer": Mistake(
        "classic",
        "delta^(k) = (W delta^(k+1)) * s'(z), where the shapes allow it",
        "W^T",
        "below a square layer, W delta for W^T delta",
        by(QUADRATIC, hidden_delta=_transposed_if_square),
    ),
    "bias gradient not summed": Mistake(
        "classic",
        "db = delta in the loop over the examples: assigned, not added",
        "db += delta",
        "db is the last example's share, 1/B of its delta",
        by(QUADRATIC, bias_gradient=lambda D: D[:, -1]),
    ),
    "last example dropped": Mistake(
        "classic",
        "the loop over the batch ends one too early",
        "all B examples",
        "lacks the last example's share, 1/B of its gradient",
        _last_example_dropped,
    ),
    "activation in s'": Mistake(
        "classic",
        "delta^(k) = (W^T delta^(k+1)) * s'(a)",
        "s'(z)",
        "hidden deltas times s'(a)/s'(z)",
        by(QUADRATIC, hidden_delta=_derivative_at_a),
    ),
}
