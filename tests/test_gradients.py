"""Every gradient of every op and model, driven by the table of cases."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jax_ref.verify import inputs
from tests.cases import CASES, LEADS, MODELS, Case, Example
from tests.proof import (
    DTYPES,
    as_tuple,
    assert_same_structure,
    backward,
    engines,
    output_shape,
    prove,
    run_pair,
)

ROWS = [
    pytest.param(case, example, id=f"{name}-{i}")
    for name, case in {**CASES, **MODELS}.items()
    for i, example in enumerate(case.examples)
]
every_example = pytest.mark.parametrize(("case", "example"), ROWS)
every_kind = pytest.mark.parametrize(  # of one leading shape: a transform does not know the others
    ("case", "example"), [row for row in ROWS if int(str(row.id).rpartition("-")[2]) % len(LEADS) == 0]
)

seeds = st.integers(0, 2**32 - 1)
scales = st.sampled_from([1.0, -1.0, 1e-3, 1e3, -1e3])


def close(actual: Any, expected: Any, tolerance: float = 1e-13) -> None:
    """Assert that two trees of float64 arrays agree, each leaf by its own norm."""
    assert_same_structure(actual, expected)
    for a, e in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        a, e = np.nan_to_num(a, neginf=-1.0), np.nan_to_num(e, neginf=-1.0)
        assert np.linalg.norm(a - e) <= tolerance * np.linalg.norm(e)


def draw(example: Example, seed: int = 0) -> tuple[Any, ...]:
    """Arguments of an example in float64, on the device."""
    return jax.tree.map(jnp.asarray, inputs.redraw(example.args, "ordinary", np.random.default_rng(seed)))


def cotangent(case: Case, example: Example, seed: int) -> jax.Array:
    """A random cotangent of the output."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=output_shape(case.reference, example)))


@every_example
@settings(max_examples=3)
@given(scale=scales, seed=seeds)
def test_agrees_with_the_oracle(case, example, scale, seed):
    which = next(i for i, e in enumerate(case.examples) if e is example)
    two_axes = LEADS[which % len(LEADS)] == (3, 2)
    dtypes = DTYPES[:1] if two_axes else DTYPES  # rounding does not know how many axes lead
    for rung in inputs.LADDER:
        prove(case.op, case.reference, example, rung=rung, scale=scale, seed=seed, dtypes=dtypes)


@every_kind
def test_is_linear_in_the_cotangent(case, example):
    args = draw(example)
    d1, d2 = (cotangent(case, example, seed) for seed in (1, 2))
    run = engines(case.op, case.reference, example.static).manual
    of = lambda d: run(args, d)[1]  # noqa: E731
    combined = jax.tree.map(lambda x, y: -3 * x + 0.5 * y, of(d1), of(d2))
    close(of(-3 * d1 + 0.5 * d2), combined, 1e-12)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(of(jnp.zeros_like(d1))))


@every_kind
def test_eager_equals_jit(case, example):
    args = draw(example)
    d_output = cotangent(case, example, 1)
    compiled = engines(case.op, case.reference, example.static).manual(args, d_output)
    close(run_pair(case.op.fwd, case.op.bwd, args, d_output, **example.static), compiled)


@every_kind
def test_vmap_equals_loop(case, example):
    several = [draw(example, seed) for seed in range(3)]
    d_several = [cotangent(case, example, seed) for seed in range(len(several))]
    stacked, d_stacked = (jax.tree.map(lambda *x: jnp.stack(x), *t) for t in (several, d_several))
    run = engines(case.op, case.reference, example.static).manual
    one_by_one = [run(args, d) for args, d in zip(several, d_several, strict=True)]
    close(jax.vmap(run)(stacked, d_stacked), jax.tree.map(lambda *x: jnp.stack(x), *one_by_one))


@every_kind
def test_residuals_stack_under_scan(case, example):
    several = [draw(example, seed) for seed in range(2)]
    d_several = [cotangent(case, example, seed) for seed in range(len(several))]
    stacked, d_stacked = (jax.tree.map(lambda *x: jnp.stack(x), *t) for t in (several, d_several))

    def forward(_, args):
        return None, case.op.fwd(*args, **example.static)[1]

    def reverse(_, step):
        args, residuals, d_output = step
        cotangents = backward(case.op.bwd, args, residuals, d_output, **example.static)
        return None, as_tuple(args, cotangents)

    _, residuals = jax.lax.scan(forward, None, stacked)
    _, cotangents = jax.lax.scan(reverse, None, (stacked, residuals, d_stacked))
    run = engines(case.op, case.reference, example.static).manual
    expected = [run(args, d)[1] for args, d in zip(several, d_several, strict=True)]
    close(cotangents, jax.tree.map(lambda *x: jnp.stack(x), *expected))


@every_kind
def test_params_are_not_saved(case, example):
    args = draw(example)
    if not hasattr(args[0], "_fields"):
        return
    traced = jax.make_jaxpr(lambda *a: case.op.fwd(*a, **example.static)[1])(*args).jaxpr
    params = set(traced.invars[: len(jax.tree.leaves(args[0]))])
    assert not params & {v for v in traced.outvars if not hasattr(v, "val")}
