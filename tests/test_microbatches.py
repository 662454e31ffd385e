"""Gradients in parts: those of the batch, with a key for each part, for any model."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manual_bp.microbatches import accumulated
from manual_bp.models import mlp
from tests.close import close

RNG = np.random.default_rng(0)
X, LABELS = jnp.asarray(RNG.normal(size=(12, 5))), jnp.asarray(RNG.integers(0, 3, 12))


@pytest.mark.parametrize("parts", [1, 3])
def test_parts_have_the_gradient_of_the_batch(parts):
    params = mlp.init(jax.random.key(0), [5, 4, 3], dtype=jnp.float64)
    value_and_grad = partial(mlp.value_and_grad, activation="tanh")
    in_parts = jax.jit(accumulated(value_and_grad, parts))(params, (X, LABELS))
    close(in_parts, value_and_grad(params, (X, LABELS)), 1e-13)


def test_every_part_has_a_key_and_sums_are_not_rounded():
    """In bfloat16 a sum of 300 ones ends at 256."""

    def value_and_grad(params, batch):
        x, key = batch
        return jax.random.uniform(key, (), jnp.float32), jnp.ones_like(params) * jnp.sum(x, dtype=x.dtype)

    x, key = jnp.ones((300, 1), jnp.bfloat16), jax.random.key(0)
    loss, grads = accumulated(value_and_grad, 300)(jnp.ones(2, jnp.bfloat16), (x, key))
    drawn = jax.vmap(lambda k: jax.random.uniform(k, (), jnp.float32))(jax.random.split(key, 300))
    assert loss == pytest.approx(float(jnp.mean(drawn)), rel=1e-6)
    assert np.array_equal(grads, [1, 1])
    assert grads.dtype == jnp.bfloat16


def test_errors():
    with pytest.raises(ValueError, match="accumulated: parts was 0; expected a positive integer"):
        accumulated(mlp.value_and_grad, 0)
    with pytest.raises(
        ValueError, match=r"has shape \(12, 5\); expected examples in front, in 5 equal parts"
    ):
        accumulated(mlp.value_and_grad, 5)(None, (X, LABELS))
