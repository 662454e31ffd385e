"""Note 002, index and vector forms: augmented weights, output deltas, and the training step."""

import jax
import jax.numpy as jnp
import optax
import pytest

import jax_ref.textbook
from manual_bp.textbook import index_and_vector_forms
from manual_bp.textbook.columns import Layer
from manual_bp.textbook.functions import OUTPUTS
from tests.textbook.networks import BOUND, HEADS, LAYERS, WIDTHS, X, Y, error, oracle, x, y


def test_augmented_weights():
    layer = LAYERS[0]
    augmented = index_and_vector_forms.augment(layer)
    assert error(index_and_vector_forms.split(augmented), layer) == 0
    found = augmented @ index_and_vector_forms.augment_state(x)
    assert error(found, layer.W @ x + layer.b) <= BOUND


@pytest.mark.parametrize("head", HEADS)
def test_output_deltas(head):
    names = HEADS[head]
    target = 1.7 * y  # sums to 1.7
    z = index_and_vector_forms.forward(LAYERS, x, output=names["output"]).z[-1]
    unit = (Layer(jnp.eye(2), z),)  # a network whose pre-activation is its bias
    wanted = oracle(unit, jnp.zeros(2), target, **names)[0].b
    a = OUTPUTS[names["output"]].value(z)
    delta = index_and_vector_forms.OUTPUT_DELTAS[names["output"], names["cost"]]
    assert error(delta(z, a, target), wanted) <= BOUND


@pytest.mark.parametrize("head", HEADS)
def test_training_step_is_sgd(head):
    names = HEADS[head]
    layers = index_and_vector_forms.initialize(jax.random.key(0), WIDTHS, dtype=jnp.float64)
    assert all(float(jnp.abs(W).max()) < 0.05 and not layer_b.any() for W, layer_b in layers)
    found, cost = jax.jit(lambda layers: index_and_vector_forms.train_step(layers, X, Y, eta=0.3, **names))(
        layers
    )
    wanted = jax_ref.textbook.mean_cost(layers, X, Y, **names)
    assert cost == pytest.approx(float(wanted), rel=BOUND)
    sgd = optax.sgd(0.3)
    step, _ = sgd.update(oracle(layers, X, Y, **names), sgd.init(layers))
    assert error(found, optax.apply_updates(layers, step)) <= BOUND


def test_the_algorithm_learns():
    names = HEADS["cross_entropy"]
    step = jax.jit(lambda layers: index_and_vector_forms.train_step(layers, X, Y, eta=1.0, **names))
    layers, first = step(LAYERS)
    for _ in range(50):
        layers, _ = step(layers)
    assert step(layers)[1] < 0.9 * first
