"""Note 000, the matrix form: what it states, without biases."""

import jax
import jax.numpy as jnp
import optax
import pytest

from experiments.train.rates import scale_by
from manual_bp.models import mlp
from manual_bp.textbook import columns, matrix_form
from tests.textbook.networks import BOUND, W, X, Y, error, x, y

SQUARE = jnp.array([[1.0, 2.0, 0.5], [0.0, -1.0, 1.5], [3.0, 0.2, 0.1]])


def test_forward_is_the_mlp_without_biases():
    states = matrix_form.forward(W, x)
    assert len(states) == len(W) + 1
    bare = columns.matrices_to_mlp(W)
    output, _ = mlp.fwd(bare, x[None], activation="sigmoid", output_activation="sigmoid")
    assert error(states[-1], output[0]) <= BOUND


def test_squared_error_and_its_gradient():
    z, t = matrix_form.forward(W, x)[-1], y
    wanted = jax.grad(matrix_form.squared_error)(z, t)
    assert error(matrix_form.squared_error_gradient(z, t), wanted) <= 1e-15
    Z = jnp.stack([matrix_form.forward(W, column)[-1] for column in X.T], axis=1)
    singles = [matrix_form.squared_error(a, b) for a, b in zip(Z.T, Y.T, strict=True)]
    assert matrix_form.batch_squared_error(Z, Y) == pytest.approx(float(sum(singles)), rel=1e-15)


def test_matrices_against_autodiff():
    found = matrix_form.gradient(W, x, y)
    wanted = jax.grad(lambda W: matrix_form.squared_error(matrix_form.forward(W, x)[-1], y))(W)
    assert error(found, wanted) <= 1e-15


def test_batch_is_the_sum():
    total = matrix_form.batch_gradient(W, X, Y)
    singles = [matrix_form.gradient(W, X[:, k], Y[:, k]) for k in range(6)]
    summed = jax.tree.map(lambda *leaves: sum(leaves[1:], leaves[0]), *singles)
    assert error(total, summed) <= BOUND


@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_tensor_reading_is_the_matrix_reading(output):
    states = matrix_form.forward(W, x, output=output)
    tensor = matrix_form.weight_jacobian(W[-1], states[-2], output=output)
    layer = jax.jacobian(lambda w: matrix_form.forward((w,), states[-2], output=output)[-1])(W[-1])
    assert error(tensor, layer) <= BOUND
    reading = matrix_form.tensor_reading(states[-1] - y, tensor)
    assert error(reading, matrix_form.gradient(W, x, y, output=output)[-1]) <= BOUND


def test_chain_rule_in_this_order():
    states = matrix_form.forward(W, x)
    jacobians = [matrix_form.layer_jacobian(w, s) for w, s in zip(W, states[:-1], strict=True)]
    whole = jax.jacobian(lambda x: matrix_form.forward(W, x)[-1])(x)
    assert error(matrix_form.chain(jacobians), whole) <= BOUND
    first, second = (matrix_form.layer_jacobian(w, v) for w, v in ((SQUARE, x[:3]), (SQUARE.T, x[1:])))
    assert error(matrix_form.chain([first, second]), second @ first) <= BOUND
    assert error(matrix_form.chain([second, first]), second @ first) > 0.1


def test_update_with_a_rate_for_every_weight():
    dW = matrix_form.gradient(W, x, y)
    same = matrix_form.update(W, dW, jax.tree.map(lambda w: jnp.full_like(w, 0.3), W))
    sgd = optax.sgd(0.3)
    step, _ = sgd.update(dW, sgd.init(W))
    assert error(same, optax.apply_updates(W, step)) <= 1e-15
    alpha = jax.tree.map(lambda w: 0.1 + jnp.abs(w), W)
    alpha = (alpha[0].at[1, 2].set(0), *alpha[1:])
    found = matrix_form.update(W, dW, alpha)
    assert bool(found[0][1, 2] == W[0][1, 2])
    assert int(sum(jnp.sum(f == w) for f, w in zip(found, W, strict=True))) == 1
    as_optax = optax.chain(optax.sgd(1.0), scale_by(alpha))
    step, _ = as_optax.update(dW, as_optax.init(W))
    assert error(found, optax.apply_updates(W, step)) <= 1e-15
