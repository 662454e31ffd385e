"""Whether all entries are one number, and that XLA sees it where it can be seen."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from manual_bp import differentiable
from manual_bp.ops import linear_cross_entropy
from manual_bp.uniform import one_number

ARRAYS = {
    "alike": ([2.5] * 3, True, 2.5),
    "negative": ([[-3.0], [-3.0]], True, -3.0),
    "not alike": ([1.0, 2.0], False, 2.0),
    "NaN": ([jnp.nan, jnp.nan], True, jnp.nan),
    "a NaN": ([jnp.nan, 1.0], False, jnp.nan),
    "one": (1.5, True, 1.5),
    "none": ([], True, 0.0),
}


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("name", ARRAYS)
def test_the_number(name, dtype):
    values, alike, number = ARRAYS[name]
    found, value = one_number(jnp.array(values, dtype))
    assert bool(found) == alike
    assert value.dtype == dtype
    assert not alike or np.array_equal(value, np.asarray(number, dtype), equal_nan=True)


def test_of_a_broadcast_no_condition_is_compiled():
    def f(scale, x):
        return lax.cond(one_number(jnp.broadcast_to(scale / 8, 8))[0], jnp.sin, jnp.cos, x)

    compiled: Any = jax.jit(f).lower(1.0, jnp.ones(5)).compile().as_text()
    assert "sine" in compiled
    assert "cosine" not in compiled


def test_the_gradient_of_a_mean_has_memory_for_one_array_like_w():
    x, labels = jnp.ones((6, 8)), jnp.zeros(6, int)
    params = linear_cross_entropy.init(jax.random.key(0), 8, 4096, bias=False, dtype=jnp.float64)

    def memory(reduce):
        def loss(params, x, weights):
            return reduce(differentiable(linear_cross_entropy)(params, x, labels), weights)

        gradient: Any = jax.jit(jax.grad(loss)).lower(params, x, jnp.ones(6)).compile()
        return gradient.memory_analysis().temp_size_in_bytes

    of_mean, weighted = memory(lambda l, w: l.mean()), memory(lambda l, w: (l * w).sum())
    assert of_mean < weighted - params.w.nbytes / 2
