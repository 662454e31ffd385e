"""Training with hand-written gradients is training, and agrees with an implementation not ours."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sklearn.datasets
from sklearn.neural_network import MLPClassifier

import jax_ref
from manual_bp.models import mlp


@pytest.fixture(scope="module")
def digits():
    """1,797 images as rows of 64 values 0..1, and their labels."""
    x, y = sklearn.datasets.load_digits(return_X_y=True)
    return x / 16, y


STATIC = {
    "classification": {"activation": "tanh", "loss": "softmax_cross_entropy"},
    "regression": {
        "activation": "silu",
        "output_activation": "sigmoid",
        "loss": "squared_error",
    },
}


@pytest.mark.parametrize("kind", STATIC)
def test_200_steps_of_both_engines_stay_together(digits, kind):
    static = STATIC[kind]
    x, y = (jnp.asarray(a[:1600]).reshape(200, 8, *a.shape[1:]) for a in digits)
    targets = jax.nn.one_hot(y, 10) if kind == "regression" else y
    optimizer = optax.sgd(0.1, momentum=0.9)  # optax.adam mixes int32 and float under strict promotion

    def train(value_and_grad):
        def step(state, batch):
            params, opt_state = state
            loss, grads = value_and_grad(params, batch, **static)
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), loss

        params = mlp.init(jax.random.key(0), [64, 17, 10], dtype=jnp.float64)
        (params, _), losses = jax.jit(functools.partial(jax.lax.scan, step))(
            (params, optimizer.init(params)), (x, targets)
        )
        return params, losses

    manual, manual_losses = train(mlp.value_and_grad)
    autodiff, _ = train(jax.value_and_grad(jax_ref.models.mlp.loss))
    chex.assert_trees_all_close(manual, autodiff, atol=1e-10, rtol=0)
    assert manual_losses[-20:].mean() < 0.5 * manual_losses[:20].mean()


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_gradient_equals_that_of_scikit_learn(digits, activation):
    x, y = digits[0][:101], digits[1][:101]
    params = mlp.init(jax.random.key(1), [64, 13, 11, 10], dtype=jnp.float64)
    _, grads = mlp.value_and_grad(params, (jnp.asarray(x), jnp.asarray(y)), activation=activation)

    theirs = MLPClassifier((13, 11), activation=activation, alpha=0.0, max_iter=1)
    theirs.out_activation_, theirs.n_layers_, theirs.n_outputs_ = "softmax", 4, 10
    theirs.coefs_ = [np.asarray(layer.w) for layer in params.layers]
    theirs.intercepts_ = [np.asarray(layer.b) for layer in params.layers]
    theirs.loss = "log_loss"
    widths = [64, 13, 11, 10]
    activations = [x, *(np.empty((101, width)) for width in widths[1:])]
    deltas = [np.empty_like(a) for a in activations]
    coef_grads = [np.empty_like(w) for w in theirs.coefs_]
    intercept_grads = [np.empty_like(b) for b in theirs.intercepts_]
    arguments = [x, np.eye(10)[y], activations, deltas, coef_grads, intercept_grads]
    if "sample_weight" in MLPClassifier._backprop.__code__.co_varnames:  # since scikit-learn 1.7
        arguments.insert(2, None)
    theirs._backprop(*arguments)

    for layer, w, b in zip(grads.layers, coef_grads, intercept_grads, strict=True):
        assert np.linalg.norm(layer.w - w) <= 1e-12 * np.linalg.norm(w)
        assert np.linalg.norm(layer.b - b) <= 1e-12 * np.linalg.norm(b)


def test_initialisers_have_their_spread():
    for name, spread in {
        "glorot": np.sqrt(2 / 500),
        "he": np.sqrt(2 / 300),
        "near_zero": 0.01,
    }.items():
        layer = mlp.init(jax.random.key(0), [300, 200], initializer=name).layers[0]
        assert np.isclose(np.std(layer.w), spread, rtol=0.03)
        assert not np.any(layer.b)
