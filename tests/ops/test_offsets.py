"""Far from zero the norms' gradients keep the digits that autodiff loses to the rounding of a mean."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jax_ref
from manual_bp import ops

CALLS = {"layer_norm": {}, "group_norm": {"groups": 2}, "batch_norm": {}}


def _error(got, exact):
    return np.linalg.norm(np.asarray(got, np.float64) - exact) / np.linalg.norm(exact)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("shape", [(5, 3, 8), (3, 40, 64)])
def test_an_offset_costs_no_digits(name, shape):
    op, reference, options = getattr(ops, name), getattr(jax_ref.ops, name), CALLS[name]
    rng = np.random.default_rng(0)
    params = op.Params(*rng.normal(size=(2, shape[-1])).astype("float32"))

    @jax.jit
    def by_hand(params, x, d_output):
        output, residuals = op.fwd(params, x, **options)
        d_output = jax.tree.unflatten(jax.tree.structure(output), d_output)
        return jax.tree.leaves(op.bwd(params, residuals, d_output, **options))

    @jax.jit
    def by_autodiff(params, x, d_output):
        output, vjp = jax.vjp(lambda params, x: reference.apply(params, x, **options), params, x)
        return jax.tree.leaves(vjp(jax.tree.unflatten(jax.tree.structure(output), d_output)))

    for offset in (3.0, 30.0, 300.0, 3000.0):
        x = (offset + rng.normal(size=shape)).astype("float32")
        like = jax.tree.leaves(jax.eval_shape(lambda *a: op.fwd(*a, **options)[0], params, x))
        d_output = [rng.normal(size=a.shape).astype("float32") for a in like]
        arguments = params, x, d_output
        exact = by_autodiff(*jax.tree.map(np.float64, arguments))
        ours, autodiff = (max(map(_error, f(*arguments), exact)) for f in (by_hand, by_autodiff))
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
