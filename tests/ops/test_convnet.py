"""The convolutional network in narrow dtypes, over many draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_ref.verify import oracle
from jax_ref.verify.subject import of_op
from tests.cases import MODELS

EXAMPLES = {example.kind: example for example in MODELS["convnet"].examples if example.lead == (7,)}
DRAWS = 30


def errors(found, exact):
    """Each leaf's distance, by the norm of the exact one."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(exact), strict=True)
    return [np.linalg.norm(np.asarray(a, float) - e) / max(np.linalg.norm(e), 1e-300) for a, e in pairs]


@pytest.mark.parametrize("dtype", [jnp.bfloat16, pytest.param(jnp.float32, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "kind", ["batch_norm", *(pytest.param(k, marks=pytest.mark.slow) for k in ("frozen_batch_norm", "none"))]
)
def test_in_narrow_dtypes_it_is_as_near_as_autodiff(kind, dtype):
    """In the geometric mean over draws: of one draw the nearer side is one by chance."""
    case, example = MODELS["convnet"], EXAMPLES[kind]
    pair = of_op(case.op, case.reference, **example.static)
    ours, theirs = jax.jit(pair.run), jax.jit(lambda args, d: oracle.value_and_vjp(pair.reference, args, d))
    rng, found = np.random.default_rng(0), []
    for seed in range(DRAWS):
        args = jax.tree.map(jnp.asarray, oracle.cast(example.draw(seed), dtype))
        output = jax.eval_shape(pair.reference, *args)
        d_output = jax.tree.map(lambda y: jnp.asarray(rng.normal(size=y.shape), y.dtype), output)
        exact = theirs(*oracle.cast((args, d_output), jnp.float64))
        found.append([errors(side(args, d_output), exact) for side in (ours, theirs)])
    ours_, theirs_ = np.exp(np.mean(np.log(np.array(found) + 1e-12), 0))
    assert np.all(ours_ <= 1.5 * theirs_), ours_ / theirs_
