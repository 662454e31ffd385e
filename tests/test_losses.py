"""Means of losses with their own 1/B, and initialisers with the fans of kernels of any shape."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jax_ref
from jax_ref.verify import oracle
from manual_bp import initializers, losses
from tests.close import close

RNG = np.random.default_rng(0)
Y = jnp.asarray(RNG.normal(size=(3, 2, 5)))


@pytest.mark.parametrize("name", losses.LOSSES)
def test_the_mean_is_over_all_examples_and_so_is_its_gradient(name):
    targets = (
        jnp.asarray(RNG.integers(0, 5, (3, 2)))
        if name == "softmax_cross_entropy"
        else jnp.asarray(RNG.random((3, 2, 5)))
    )
    reference = jax_ref.models.mlp.LOSSES[name]
    expected = jax.jit(jax.value_and_grad(lambda y: jnp.mean(reference(y, targets))))(Y)
    mean = jax.jit(losses.mean, static_argnums=0)
    close(mean(name, Y, targets), expected, 1e-12)
    narrow = mean(name, *oracle.cast((Y, targets), jnp.bfloat16))
    assert [x.dtype for x in narrow] == [jnp.bfloat16] * 2


def test_what_a_mean_refuses():
    with pytest.raises(ValueError, match="name was 'squard_error'; did you mean 'squared_error'"):
        losses.mean("squard_error", Y, Y)
    with pytest.raises(ValueError, match=r"the shape of y was \(0, 5\); expected at least one example"):
        losses.mean("squared_error", jnp.zeros((0, 5)), jnp.zeros((0, 5)))


@pytest.mark.parametrize(
    ("shape", "axes", "fan_in", "fan_out"),
    [
        ((300, 200), {}, 300, 200),
        ((3, 3, 20, 30), {}, 180, 270),
        ((40, 8, 16), {"in_axis": 0, "out_axis": (1, 2)}, 40, 128),
        ((4, 90, 60), {"batch_axis": 0}, 90, 60),
    ],
)
def test_the_spread_is_that_of_the_fans(shape, axes, fan_in, fan_out):
    for name, spread in {
        "he": np.sqrt(2 / fan_in),
        "glorot": np.sqrt(2 / (fan_in + fan_out)),
        "near_zero": 0.01,
    }.items():
        drawn = initializers.draw("here", name, jax.random.key(0), shape, jnp.float32, **axes)
        assert drawn.shape == shape
        assert drawn.dtype == jnp.float32
        assert np.isclose(np.std(drawn), spread, rtol=0.05)


def test_an_unknown_initializer():
    with pytest.raises(ValueError, match="conv: initializer was 'hee'; did you mean 'he'"):
        initializers.draw("conv", "hee", jax.random.key(0), (3, 4), jnp.float32)
