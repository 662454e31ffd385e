"""The differences against `jax.grad`, and what the study of their step measures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import data
from experiments.common import numerical as differences
from experiments.step_size.kinks import kinks
from experiments.step_size.loss import SCALES, mean_loss, truth
from experiments.step_size.measure import Settings, measure

pytestmark = pytest.mark.slow  # its command line is tested by default

RNG = np.random.default_rng(0)
X, LABELS = (jnp.asarray(a[:5]) for a in data.rows(data.digits.load()).train)
THETA = jnp.asarray(SCALES * RNG.standard_normal(SCALES.size))


def test_differences_are_derivatives():
    def f(params):
        return jnp.sum(jnp.sin(params["w"]) * jnp.exp(params["b"])[:, None])

    def loss(theta):
        return jnp.sum(jnp.sin(theta) * theta[::-1])

    @jax.jit
    def derivatives(at, along, theta):
        by_method = (
            differences.forward(f, at, along, 1e-8),
            differences.central(f, at, along, 6e-6),
            differences.complex_step(f, at, along, 1e-300),
        )
        gradients = (
            differences.gradient_by_central(loss, theta),
            differences.gradient_by_complex_step(loss, theta),
        )
        return by_method, jax.jvp(f, (at,), (along,))[1], gradients, jax.grad(loss)(theta)

    at, along = (
        {"w": jnp.asarray(RNG.normal(size=(3, 2))), "b": jnp.asarray(RNG.normal(size=3))} for _ in "ab"
    )
    theta = THETA[: 2 * differences.CHUNK + 1]
    found, expected, gradients, gradient = derivatives(at, along, theta)
    for one, bound in zip(found, (1e-6, 1e-9, 1e-15), strict=True):
        assert abs(one - expected) < bound * abs(expected)
    for one, bound in zip(gradients, (1e-8, 1e-14), strict=True):
        np.testing.assert_allclose(one, gradient, rtol=0, atol=bound)
    with pytest.raises(ValueError, match=r"theta has shape \(2, 2\)"):
        differences.gradient_by_central(loss, jnp.ones((2, 2)))


def test_truth_is_the_gradient():
    @jax.jit
    def both(theta):
        def loss(theta):
            return mean_loss(theta, X, LABELS, "sigmoid")

        by_steps = loss(theta), differences.gradient_by_complex_step(loss, theta)
        return by_steps, truth(theta, X, LABELS, "sigmoid")

    (loss, by_steps), (value, gradient, rms) = both(THETA)
    assert abs(value - loss) < 1e-14 * value
    assert np.linalg.norm(by_steps - gradient) < 2e-15 * np.linalg.norm(gradient)
    assert abs(rms - np.linalg.norm(gradient) / THETA.size**0.5) < 1e-14 * rms


def test_errors_have_their_order_and_best_step():
    figures = measure(Settings(examples=8, directions=24, batch_sizes=(2,), kink_steps=(1e-1, 1e-4)))
    for dtype, eps in (("float64", 2.2e-16), ("float32", 1.2e-7)):
        found = figures["errors"][dtype]
        for method, order in (("forward", 1), ("central", 2), ("complex step", 2)):
            assert abs(found[method]["order"] - order) < 0.06
            assert 0.1 < found[method]["best_step"] / found[method]["theory_step"] < 10
            assert found[method]["best_error"] <= 2 * min(found[method]["error"])
            beyond = slice(3, 5)  # h = 1 and 0.46, where nothing is rounded away
            ratio = np.divide(found[method]["error"][beyond], found[method]["theory"][beyond])
            assert np.all((ratio > 0.7) & (ratio < 1.5))
        assert found["complex step"]["error"][-1] < 4 * eps
        assert eps**0.75 < found["central"]["best_error"] < eps**0.6 * 4
        assert 0.4 < found["central"]["error"][-1] < 1  # the median of |f'|, as the step is lost
    found = figures["kinks"]["2"]
    assert found["crossing"][0] > 0
    assert found["error_95"][0] > 1e-3
    assert found["median_error"][1] < 1e-8


def test_kinks_are_as_many_as_theory_says():
    cases, steps = 600, np.array([0.3, 0.03])
    thetas = SCALES * RNG.standard_normal((cases, SCALES.size))
    v = RNG.standard_normal(thetas.shape)
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    rows = RNG.integers(len(X), size=(cases, 1))
    met, chance, error = map(np.asarray, kinks(*map(jnp.asarray, (rows, thetas, v, steps)), X, LABELS))

    def signs(parameters):  # of all hidden units, by NumPy
        w, b, _ = np.split(parameters, [64 * 20, 65 * 20], axis=1)
        return np.einsum("di,dij->dj", np.asarray(X)[rows[:, 0]], w.reshape(-1, 64, 20)) + b > 0

    for s, h in enumerate(steps):
        crossed = signs(thetas + h * v) != signs(thetas - h * v)
        assert np.array_equal(met[:, s], crossed.any(1))
        spread = np.sqrt(np.sum(chance[:, s] * (1 - chance[:, s])))
        assert abs(np.sum(met[:, s]) - np.sum(chance[:, s])) < 3 * spread
        smooth = error[~met[:, s], s]
        assert np.max(smooth) < 2 * h**2
    assert np.median(error[met[:, 1], 1]) > 100 * np.median(error[~met[:, 1], 1])
