"""Far from zero the norms' gradients keep the digits that autodiff loses to the rounding of a mean."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jax_ref
from jax_ref.verify import oracle
from jax_ref.verify.subject import of_op
from manual_bp import ops

CALLS = {"layer_norm": {}, "group_norm": {"groups": 2}, "batch_norm": {}}


def _error(got, exact):
    return np.linalg.norm(np.asarray(got, np.float64) - exact) / np.linalg.norm(exact)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("shape", [(5, 3, 8), (3, 40, 64)])
def test_an_offset_costs_no_digits(name, shape):
    op = getattr(ops, name)
    pair = of_op(op, getattr(jax_ref.ops, name).apply, **CALLS[name])
    by_hand = jax.jit(pair.run)
    by_autodiff = jax.jit(functools.partial(oracle.value_and_vjp, pair.reference))
    rng = np.random.default_rng(0)
    params = op.Params(*rng.normal(size=(2, shape[-1])).astype("float32"))
    for offset in (3.0, 30.0, 300.0, 3000.0):
        args = params, (offset + rng.normal(size=shape)).astype("float32")
        like = jax.eval_shape(pair.reference, *args)
        given = args, jax.tree.map(lambda y: rng.normal(size=y.shape).astype("float32"), like)
        exact = jax.tree.leaves(by_autodiff(*jax.tree.map(np.float64, given))[1])
        ours, autodiff = (
            max(map(_error, jax.tree.leaves(f(*given)[1]), exact)) for f in (by_hand, by_autodiff)
        )
        assert ours < 1e-6, offset
    assert autodiff > 1e-5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [0.1, -3.7e5, 7.3e17])
def test_of_equal_entries_nothing_is_left(value, dtype):
    params = ops.layer_norm.Params(jnp.full(5, 2, dtype), jnp.arange(5, dtype=dtype))
    y, residuals = jax.jit(ops.layer_norm.fwd)(params, jnp.full((3, 5), value, dtype))
    np.testing.assert_array_equal(y, np.broadcast_to(params.b, (3, 5)))
    dparams, _ = jax.jit(ops.layer_norm.bwd)(params, residuals, jnp.ones((3, 5), dtype))
    np.testing.assert_array_equal(dparams.g, np.zeros(5))
