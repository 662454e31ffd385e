"""Gradients through time: the norms are those of autodiff, and the factors those of the theory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jax_ref
from experiments.through_time import networks
from experiments.through_time.measure import Settings, measure
from experiments.through_time.norms import mean_field, norms
from manual_bp.ops import gru, lstm

STEPS, WIDTH = 3, 2
SLOW = pytest.mark.slow
KINDS = [
    pytest.param("rnn", lambda key: networks.plain(key, WIDTH, 2.0, "tanh"), marks=SLOW),
    pytest.param("rnn", lambda key: networks.plain(key, WIDTH, 2.0, "relu"), marks=SLOW),
    ("lstm", lambda key: networks.gated(lstm, key, WIDTH, 3.0)),
    pytest.param("gru", lambda key: networks.gated(gru, key, WIDTH, 3.0), marks=SLOW),
]


@pytest.mark.parametrize(("cell", "make"), KINDS)
def test_the_norms_are_those_of_autodiff(cell, make):
    of_network, of_x, of_dh = jax.random.split(jax.random.key(0), 3)
    network = make(of_network)
    x = jax.random.normal(of_x, (STEPS, networks.FEATURES), jnp.float64)
    dh = jax.random.normal(of_dh, (WIDTH,), jnp.float64)
    apply = getattr(jax_ref.ops, cell).apply

    @jax.jit
    @jax.grad
    def gradients(shifts):
        """What is asked of the last output, by a shift of the state before each step, and of the last."""
        state = network.state
        for t in range(STEPS):
            state = jax.tree.map(jnp.add, state, shifts[t])
            _, state = apply(network.params, x[None, t : t + 1], state, **network.static)
        h = getattr(state, "h", state) + getattr(shifts[-1], "h", shifts[-1])
        return jnp.vdot(h[0], dh)

    by_step = gradients([network.state] * (STEPS + 1))  # the first states are zeros
    found, hs = jax.jit(lambda params: norms(network._replace(params=params), x, dh))(network.params)
    expected = [np.linalg.norm(getattr(gradient, "h", gradient)) for gradient in by_step]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    ys, _ = apply(network.params, x[None], network.state, **network.static)
    np.testing.assert_allclose(hs, ys[0], rtol=1e-12)


def test_the_slope_is_that_of_the_activation():
    z = np.array([[-1.0, 0.5], [2.0, 0.1]])
    slope = 1 / np.cosh(z) ** 2
    assert float(mean_field(jnp.tanh(z), 3.0, "tanh")) == pytest.approx(3 * np.sqrt(np.mean(slope**2)))
    assert float(mean_field(jnp.maximum(z, 0), 3.0, "relu")) == pytest.approx(3 * np.sqrt(3 / 4))


def test_the_gate_that_keeps_has_the_bias():
    of_lstm, of_gru = (networks.gated(op, jax.random.key(0), 2, 3.0).params for op in (lstm, gru))
    assert of_lstm.b.tolist() == [0, 0, 3, 3, 0, 0, 0, 0]
    assert of_gru.b_x.tolist() == [0, 0, 3, 3, 0, 0]
    assert not np.any(of_gru.b_h)


@pytest.mark.slow
def test_the_theory_is_met_where_it_holds():
    figures = measure(Settings(gains=(0.5, 1.0), biases=(5.0,), draws=10))
    for kind in figures["kinds"]:
        assert kind["factor"]["median"] == pytest.approx(kind["expected"], rel=0.02), kind["cell"]
    by_relu = measure(Settings(gains=(1.0, 3.0), activation="relu", biases=(), steps=40, draws=10))
    for kind in by_relu["kinds"]:
        assert kind["factor"]["median"] == pytest.approx(kind["gain"] / np.sqrt(2), rel=0.1)
