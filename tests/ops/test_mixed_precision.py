"""Mixed precision: params in float32 with activations in bfloat16 or float16, as networks are trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_ref import verify
from jax_ref.verify import oracle
from manual_bp import differentiable
from manual_bp.models import mlp
from tests.cases import CASES, MODELS

NARROW = pytest.mark.parametrize(
    "narrow",
    [
        pytest.param(jnp.bfloat16, id="bfloat16"),
        pytest.param(jnp.float16, id="float16", marks=pytest.mark.slow),
    ],
)


OF_ITS_OWN = {"gpt"}
"""It has no floating input, but an option for the dtype of its activations, and a test of that."""


def with_params(table):
    """The cases of a table whose first argument are params."""
    first = {name: case.examples[0].args[0] for name, case in table.items() if name not in OF_ITS_OWN}
    return {name: table[name] for name, params in first.items() if hasattr(params, "_fields")}


def mixed(args, narrow):
    """The params in float32, the other floating arguments in `narrow`."""
    params, *others = jax.tree.map(jnp.asarray, args)
    return oracle.cast(params, jnp.float32), *oracle.cast(tuple(others), narrow)


LONG = {"convnet", "recurrent", "gru", "rnn"}
"""What takes long and has another like it."""


@NARROW
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] * (n in LONG)) for n in with_params(CASES | MODELS)],
)
def test_a_gradient_in_mixed_precision(name, narrow):
    """As exact as autodiff everywhere; in a model the rounding of the activations is on the way of both."""
    case = (CASES | MODELS)[name]
    example = case.examples[0]
    verify.assert_gradients(
        case.op,
        *mixed(example.args, narrow),
        reference=case.reference,
        skip={
            "batches": "the table has an odd batch, a batch of one, and two axes",
            "transforms": "they are tried in the gradient test",
            "reference": "it is tried there too",
        },
        kinks="autodiff",
        precision="everywhere",
        **example.static,
    )


def test_a_sum_over_the_batch_is_not_rounded_to_the_activations():
    """1 + 2^-10 has no bfloat16; a bias's gradient of so many examples has."""
    params = mlp.init(jax.random.key(0), [2, 1])
    x, d_output = jnp.ones((1025, 2), jnp.bfloat16), jnp.full((1025, 1), 2.0**-10, jnp.bfloat16)
    dparams, _ = mlp.bwd(params, mlp.fwd(params, x)[1], d_output)
    assert np.array_equal(jnp.asarray(dparams.layers[0].b), [1 + 2.0**-10])
    assert np.array_equal(dparams.layers[0].w, np.full((2, 1), 1 + 2.0**-10))


def test_it_trains_through_the_bridge():
    params = mlp.init(jax.random.key(0), [5, 4, 3])
    x = jnp.asarray(np.random.default_rng(0).normal(size=(7, 5)), jnp.bfloat16)
    grads = jax.jit(jax.grad(lambda p: differentiable(mlp)(p, x).astype(jnp.float32).sum()))(params)
    assert jax.tree.map(lambda g: g.dtype, grads) == jax.tree.map(lambda p: p.dtype, params)
