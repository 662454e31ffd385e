"""Every gradient of every op and model, driven by the table of cases and by the verifier."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jax_ref import verify
from jax_ref.verify.points import inputs
from jax_ref.verify.subject import of_op
from tests.cases import CASES, LEADS, MODELS, Example

DTYPES = (jnp.float64, jnp.float32, jnp.bfloat16)

OF_THE_TABLE = {"batches": "the table has an odd batch, a batch of one, and two axes"}
OF_ONE_SHAPE = {
    "transforms": "a transform does not know the leading shape: they are tried on the first",
    "reference": "it is tried on the first leading shape",
}

ROWS = [
    pytest.param(case, example, id=f"{name}-{i}")
    for name, case in {**CASES, **MODELS}.items()
    for i, example in enumerate(case.examples)
]
every_example = pytest.mark.parametrize(("case", "example"), ROWS)
every_kind = pytest.mark.parametrize(
    ("case", "example"), [row for row in ROWS if int(str(row.id).rpartition("-")[2]) % len(LEADS) == 0]
)


def close(actual: Any, expected: Any, tolerance: float = 1e-13) -> None:
    """Assert that two trees of float64 arrays agree, each leaf by its own norm."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert (a.shape, a.dtype) == (e.shape, e.dtype)
        a, e = np.nan_to_num(a, neginf=-1.0), np.nan_to_num(e, neginf=-1.0)
        assert np.linalg.norm(a - e) <= tolerance * np.linalg.norm(e)


def draw(example: Example, seed: int = 0) -> tuple[Any, ...]:
    """Arguments of an example in float64, on the device."""
    return jax.tree.map(jnp.asarray, inputs.redraw(example.args, "ordinary", np.random.default_rng(seed)))


@every_example
@settings(max_examples=2)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_verifier_finds_nothing(case, example, seed):
    lead = LEADS[next(i for i, e in enumerate(case.examples) if e is example) % len(LEADS)]
    verify.assert_gradients(
        case.op,
        *draw(example, seed),
        reference=case.reference,
        seed=seed,
        dtypes=DTYPES if lead == LEADS[0] else DTYPES[:1],  # rounding does not know the leading shape
        skip=OF_THE_TABLE if lead == LEADS[0] else OF_THE_TABLE | OF_ONE_SHAPE,
        kinks="autodiff",
        **example.static,
    )


@every_kind
def test_residuals_stack_under_scan(case, example):
    several = [draw(example, seed) for seed in range(2)]
    pair = of_op(case.op, case.reference, **example.static)
    shape = jax.eval_shape(pair.reference, *several[0]).shape
    d_several = [jnp.asarray(np.random.default_rng(seed).normal(size=shape)) for seed in range(2)]
    run = jax.jit(pair.run)
    stacked, d_stacked = (jax.tree.map(lambda *x: jnp.stack(x), *t) for t in (several, d_several))

    def forward(_, args):
        return None, case.op.fwd(*args, **example.static)[1]

    def reverse(_, step):
        args, residuals, d_output = step
        params = args[:1] if hasattr(args[0], "_fields") else ()
        return None, case.op.bwd(*params, residuals, d_output, **example.static)

    _, residuals = jax.lax.scan(forward, None, stacked)
    _, cotangents = jax.lax.scan(reverse, None, (stacked, residuals, d_stacked))
    expected = [run(args, d)[1] for args, d in zip(several, d_several, strict=True)]
    stacked_up = jax.tree.map(lambda *x: jnp.stack(x), *expected)
    close(jax.tree.leaves(cotangents), jax.tree.leaves(stacked_up))


@every_kind
def test_params_are_not_saved(case, example):
    args = draw(example)
    if not hasattr(args[0], "_fields"):
        return
    traced = jax.make_jaxpr(lambda *a: case.op.fwd(*a, **example.static)[1])(*args).jaxpr
    params = set(traced.invars[: len(jax.tree.leaves(args[0]))])
    assert not params & {v for v in traced.outvars if not hasattr(v, "val")}
