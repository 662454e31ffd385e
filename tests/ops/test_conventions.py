"""Conventions at kinks and ties, far out, and where a mask or a label says that nothing counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_ref.ops import activations as reference
from manual_bp.ops import (
    activations,
    huber,
    log_softmax,
    softmax,
    softmax_cross_entropy,
)

KINKS = {
    ("relu", 0.0): 0.0,
    ("leaky_relu", 0.0): 1.0,
    ("elu", 0.0): 1.0,
    ("relu_squared", 0.0): 0.0,
    ("hard_tanh", 1.0): 1.0,
    ("hard_tanh", -1.0): 1.0,
}


@pytest.mark.parametrize(("member", "z"), KINKS)
def test_derivative_at_a_kink_is_that_of_jax(member, z):
    _, residuals = activations.MEMBERS[member].fwd(jnp.array(z))
    ours = activations.MEMBERS[member].bwd(residuals, jnp.array(1.0))
    assert ours == KINKS[member, z] == jax.grad(getattr(reference, member))(z)


def test_relu_lets_nan_through():
    assert jnp.isnan(activations.relu.fwd(jnp.array(jnp.nan))[0])


@pytest.mark.parametrize("op", [softmax, log_softmax])
@pytest.mark.parametrize("fill", [1.0, -jnp.inf, jnp.nan])
def test_fully_masked_row_is_zero_with_zero_gradient(op, fill):
    x = jnp.array([[1.0, 2.0, 3.0], [fill] * 3])
    mask = jnp.array([[True, False, True], [False] * 3])
    y, residuals = op.fwd(x, mask)
    dx = op.bwd(residuals, jnp.ones_like(x) + x[:1])
    assert np.array_equal(y[1], np.zeros(3))
    assert np.array_equal(dx[1], np.zeros(3))
    assert np.all(np.isfinite(dx))
    assert dx[0, 1] == 0


def test_masked_entries_of_log_softmax_are_minus_infinity():
    y, _ = log_softmax.fwd(jnp.array([1.0, 2.0, 1.0]), jnp.array([True, False, True]))
    assert np.allclose(y, [-np.log(2), -np.inf, -np.log(2)])


def test_ignored_and_impossible_labels():
    x = jnp.array([[1.0, 2.0, 3.0]] * 5)
    targets = jnp.array([1, -100, 3, -1, 0])
    options = {"label_smoothing": 0.1, "z_loss": 0.1, "ignore_label": -100}
    loss, residuals = softmax_cross_entropy.fwd(x, targets, **options)
    dx = softmax_cross_entropy.bwd(residuals, jnp.ones(5), **options)
    assert loss[1] == 0
    assert np.array_equal(np.isnan(loss), [False, False, True, True, False])
    assert np.array_equal(np.any(dx != 0, axis=-1), [True, False, False, False, True])
    assert np.all(np.isfinite(dx))


@pytest.mark.parametrize("dtype", [jnp.int8, jnp.uint8, jnp.int64])
def test_labels_of_a_narrow_dtype_count_all_classes(dtype):
    x = jnp.zeros((1, 300)).at[0, 256].set(5.0)
    loss, residuals = softmax_cross_entropy.fwd(x, jnp.array([0], dtype), ignore_label=-100)
    dx = softmax_cross_entropy.bwd(residuals, jnp.ones(1), ignore_label=-100)
    assert np.isclose(loss[0], np.log(299 + np.exp(5.0)))
    assert np.array_equal(dx[0] < 0, np.arange(300) == 0)


def test_class_ruled_out_by_its_logit():
    x = jnp.array([[0.0, -jnp.inf, 0.0]])
    for targets in (jnp.array([0]), jnp.array([[1.0, 0.0, 0.0]])):
        loss, residuals = softmax_cross_entropy.fwd(x, targets)
        dx = softmax_cross_entropy.bwd(residuals, jnp.ones(1))
        dx = dx[0] if isinstance(dx, tuple) else dx
        assert np.allclose(loss, np.log(2))
        assert np.allclose(dx, [[-0.5, 0.0, 0.5]])


def test_cross_entropy_is_exact_where_log_of_softmax_is_not():
    x, label = jnp.array([[1000.0, 0.0]]), jnp.array([1])
    naive = jax.grad(lambda x: -jnp.log(jax.nn.softmax(x))[0, 1])(x)
    loss, residuals = softmax_cross_entropy.fwd(x, label)
    assert np.all(np.isnan(naive))
    assert loss[0] == 1000
    assert np.array_equal(softmax_cross_entropy.bwd(residuals, jnp.ones(1)), [[1.0, -1.0]])


def test_huber_is_squared_error_when_delta_is_large():
    y, t = jnp.array([[1.0, -2.0]]), jnp.array([[0.5, 3.0]])
    assert np.allclose(huber.fwd(y, t, delta=10.0)[0], 0.5 * np.sum((y - t) ** 2))
