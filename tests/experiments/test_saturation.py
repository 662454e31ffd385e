from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import data
from experiments.common.errors import UserError
from experiments.saturation import measure, network
from experiments.saturation.costs import COSTS
from manual_bp.models import mlp
from manual_bp.ops import dense

SETTINGS = measure.Settings(hidden=(6, 5), epochs=3, inits=2, batch_size=700, learning_rate=1.0, seed=5)


def cost_from_definition(cost, z, t):
    """Every example's cost, by its definition on the logits."""
    if cost == "quadratic":
        return jnp.sum((jax.nn.sigmoid(z) - t) ** 2, -1) / 2
    return -jnp.sum(t * jax.nn.log_sigmoid(z) + (1 - t) * jax.nn.log_sigmoid(-z), -1)


@pytest.fixture(scope="module")
def figures():
    return measure.measure(SETTINGS)


@pytest.mark.parametrize("cost", COSTS)
def test_neuron(figures, cost):
    def step(w_b, _):
        g = jax.grad(lambda w_b: cost_from_definition(cost, w_b[:1] + w_b[1:], jnp.zeros(1)))(w_b)
        return w_b - 0.15 * g, (jax.nn.sigmoid(jnp.sum(w_b)), jnp.abs(g[0]))

    descend = jax.jit(lambda w_b: jax.lax.scan(step, w_b, length=301)[1])
    for start, w_b in {"easy": (0.6, 0.9), "bad": (2.0, 2.0)}.items():
        output, gradient = map(np.asarray, descend(jnp.array(w_b)))
        found = figures["neuron"][start][cost]
        np.testing.assert_allclose(found["output"], output, rtol=1e-12)
        np.testing.assert_allclose(found["gradient"], gradient, rtol=1e-12)
        for level in (0.9, 0.5):
            assert found[f"epochs_to_{level}"] == np.sum(output >= level)
        fall = output[:-1] - output[1:]
        assert fall[found["steepest_epoch"]] == np.max(fall)

        # Gradient flow: dz/dn = -2 eta dC/dz from z0 down to 0, integrated.
        z0, a0 = sum(w_b), output[0]
        if cost == "quadratic":
            wait = (3 * z0 + 5 / 2 + np.exp(z0) - 3 * np.exp(-z0) - np.exp(-2 * z0) / 2) / 0.3
            assert found["first_gradient"] == pytest.approx(a0**2 * (1 - a0) / (4 / 27), rel=1e-3)
        else:
            wait = (z0 + 1 - np.exp(-z0)) / 0.3
            assert found["first_gradient"] == 1
        assert found["epochs_to_0.5"] == pytest.approx(wait, rel=0.02, abs=1)


def test_quadratic_neuron_is_as_known(figures):
    bad, easy = (figures["neuron"][start]["quadratic"] for start in ("bad", "easy"))
    assert 150 <= bad["epochs_to_0.9"] <= 180
    assert bad["steepest_epoch"] > 200
    assert easy["output"][-1] == pytest.approx(0.09, abs=0.005)


@pytest.mark.parametrize("cost", COSTS)
def test_network_against_autodiff(figures, cost):
    x, y = data.rows(data.digits.load()).train
    t = np.eye(10)[y]

    def costs(params, shifts, weights):
        """The weighted mean cost with `shifts` added to the z of the layers, and the outputs."""
        a, z = x, x
        for (w, b), shift in zip(params.layers, shifts, strict=True):
            z = a @ w + b[None] + shift
            a = jax.nn.sigmoid(z)
        return jnp.sum(weights * cost_from_definition(cost, z, t)) / jnp.sum(weights), a

    @jax.jit
    def step(params, weights):
        zeros = [jnp.zeros((len(x), len(layer.b))) for layer in params.layers]
        both = jax.value_and_grad(costs, argnums=(0, 1), has_aux=True)
        (mean_cost, a), (grads, deltas) = both(params, zeros, weights)
        return jax.tree.map(lambda p, g: p - g, params, grads), (mean_cost, a, deltas)

    def trained(params, key):
        """What the study measures before each of the 3 epochs and after them."""
        seen = []
        for epoch_key in jax.random.split(key, 4):
            mean_cost, a, deltas = jax.tree.map(np.asarray, step(params, np.ones(len(x)))[1])
            norms = [np.sqrt(len(x)) * np.linalg.norm(dz) for dz in deltas]
            seen.append((mean_cost, np.mean(a * (1 - a)), np.mean(np.argmax(a, -1) == y), *norms))
            order = np.asarray(jax.random.permutation(epoch_key, len(x)))
            for rows in (order[:700], order[700:1400]):
                params, _ = step(params, np.isin(np.arange(len(x)), rows).astype(float))
        return seen

    keys = jax.random.split(jax.random.key(SETTINGS.seed + 1), SETTINGS.inits)
    starts = network.starts(jax.random.key(5), 2, (64, 6, 5, 10), SETTINGS.output_bias)
    for start, stacked in starts.items():
        arrays = jax.tree.map(np.asarray, stacked)
        each = [jax.tree.map(lambda leaf, i=i: leaf[i], arrays) for i in range(SETTINGS.inits)]
        seen = np.array([trained(params, key) for params, key in zip(each, keys, strict=True)])
        found = figures["network"][start][cost]
        np.testing.assert_allclose(found["accuracy"], seen[..., 2], rtol=1e-12)
        cost_slope_delta = np.array([found["cost"], found["slope"], *found["delta"]])
        expected = np.median(seen, axis=0).T[[0, 1, 3, 4, 5]]
        np.testing.assert_allclose(cost_slope_delta, expected, rtol=1e-9)


def test_saturation_stops_only_the_quadratic_cost(figures):
    bad = figures["network"]["bad"]
    assert bad["quadratic"]["epochs_to_0.9"] is None
    assert bad["cross-entropy"]["epochs_to_0.9"] <= 3
    ratio = np.divide(bad["quadratic"]["delta"], bad["cross-entropy"]["delta"])[:, 0]
    np.testing.assert_allclose(ratio, bad["quadratic"]["slope"][0], rtol=0.4)  # the s' are alike
    for start in ("easy", "bad"):
        for cost in COSTS:
            found = figures["network"][start][cost]
            assert found["quotient_error"] < 1e-14
            assert (found["epochs_to_goal"], found["reached_goal"]) == (None, 0)


def test_one_output_that_stays_up():
    net = mlp.Params((dense.Params(jnp.zeros((3, 2)), jnp.array([4.0, -4.0])),))
    t = jnp.tile(jnp.array([[0.0, 1.0]]), (5, 1))
    seen = jax.jit(partial(network.observe, cost="quadratic"))(net, jnp.ones((5, 3)), t)
    a = 1 / (1 + np.exp(-4))
    np.testing.assert_allclose(seen["highest"], a, rtol=1e-12)
    np.testing.assert_allclose(seen["delta"], [np.sqrt(2) * a * a * (1 - a)], rtol=1e-12)
    assert seen["accuracy"] == 0


@pytest.mark.parametrize(
    "wrong", [{"data": "digit"}, {"epochs": 0}, {"hidden": (0,)}, {"batch_size": 1438}, {"output_bias": 31.0}]
)
def test_impossible_settings(wrong):
    (option,) = wrong
    with pytest.raises(UserError, match=f"--{option.replace('_', '-')} was "):
        measure.measure(measure.Settings(**wrong))
