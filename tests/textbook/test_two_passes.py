"""Note 001, a pass forward and a pass backward: its two factors, and all parameters as one vector."""

import jax
import jax.numpy as jnp
import pytest

from manual_bp.textbook import index_and_vector_forms, two_passes
from tests.textbook.networks import BOUND, HEADS, LAYERS, X, Y, error, oracle, x, y


def test_theta_goes_round():
    theta = two_passes.flatten(LAYERS)
    assert theta.shape == (sum(W.size + b.size for W, b in LAYERS),)
    assert bool(jnp.all(theta[-2:] == LAYERS[-1].b))  # the biases come last
    assert error(two_passes.unflatten(theta, LAYERS), LAYERS) == 0
    with pytest.raises(ValueError, match=r"theta has shape \(3,\); expected \(47,\)"):
        two_passes.unflatten(theta[:3], LAYERS)


def test_a_step_on_theta_is_a_step_on_the_tree():
    grads = two_passes.total_gradient(LAYERS, X, Y)
    flat = two_passes.descend(two_passes.flatten(LAYERS), two_passes.flatten(grads), 0.3)
    tree = index_and_vector_forms.update(LAYERS, grads, 0.3)
    assert error(two_passes.unflatten(flat, LAYERS), tree) == 0


@pytest.mark.parametrize("head", HEADS)
def test_the_two_factors(head):
    names = HEADS[head]
    ahead = two_passes.forward_pass(LAYERS, x)
    dl_dz = two_passes.backward_pass(LAYERS, ahead.z, y, **names)
    wanted = oracle(LAYERS, x, y, **names)
    for k, layer in enumerate(wanted):
        assert error(jnp.outer(dl_dz[k], ahead.dz_dw[k]), layer.W) <= BOUND
        assert error(dl_dz[k] * ahead.dz_db[k], layer.b) <= BOUND


def test_fan_out():
    w, a = jnp.array([0.3, -1.2]), jnp.asarray(0.7)

    def of_z(z):
        return jnp.sin(z[0]) * z[1] ** 2

    wanted = jax.grad(lambda a: of_z(w * a))(a)
    assert two_passes.fan_out(w, jax.grad(of_z)(w * a)) == pytest.approx(float(wanted), rel=1e-15)
