"""Range of every dtype: each op at values from subnormal to the largest, at infinities and at NaN.

A value stands in one place of an argument, in a row of it, or in a column; the other entries are ordinary.
Where autodiff of the reference in the same dtype is finite, ours is no further from the float64 reference
than twice that and some units in the last place. Of elementwise functions more is asked: ours is right
wherever the float64 reference is finite, and has the limits of `LIMITS` where that fails as well.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_ref.verify import oracle
from jax_ref.verify.subject import of_op
from manual_bp.ops import activations
from tests.cases import CASES

UNITS = 64
"""Allowed on top: float64's own tails of 1 + tanh are off by some tens."""

DTYPES = (jnp.float64, jnp.float32, jnp.float16, jnp.bfloat16)

LIMITS = {
    ("silu", -np.inf): (0, 0),
    ("silu", np.inf): (np.inf, 1),
    ("gelu", -np.inf): (0, 0),
    ("gelu", np.inf): (np.inf, 1),
    ("gelu_tanh", -np.inf): (0, 0),
    ("gelu_tanh", np.inf): (np.inf, 1),
}
"""Value and slope where the formula has 0 times infinity."""


def values(dtype):
    """Some 80 values: both signs of powers over the whole range, the ends of it, infinities and NaN."""
    info = jnp.finfo(dtype)
    powers = 2.0 ** np.linspace(info.minexp, info.maxexp - 1, 33)
    ends = [0.0, float(info.smallest_subnormal), float(info.max), 1.0, 4.0, 6.0, np.inf]
    positive = np.concatenate([ends, powers])
    return jnp.asarray(np.concatenate([positive, -positive, [np.nan]]), dtype)


def far(actual, exact, reached, dtype, scale):
    """Where `actual` is further from `exact` than is allowed; `reached` is what autodiff has."""
    info = jnp.finfo(dtype)
    with np.errstate(all="ignore"):
        error = np.where(actual == exact, 0, np.abs(actual - exact))
        theirs = np.where(np.isfinite(reached), np.where(reached == exact, 0, np.abs(reached - exact)), 0)
        allowed = 2 * theirs + UNITS * float(info.eps) * np.maximum(scale, 1) + float(info.smallest_normal)
    return ~(error <= allowed)


def rounded(x, dtype):
    """Float64 values as the dtype has them: too large ones are infinite."""
    return np.array(jnp.asarray(x, jnp.float64).astype(dtype).astype(jnp.float64))


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("name", activations.MEMBERS)
def test_an_activation_over_the_whole_range(name, dtype):
    z = values(dtype)
    case = CASES[f"activations.{name}"]
    a, residuals = case.op.fwd(z)
    found = [np.asarray(x, np.float64) for x in (a, case.op.bwd(residuals, jnp.ones_like(z)))]

    def both(z):
        return case.reference(z), jax.vmap(jax.grad(case.reference))(z)

    exact = [rounded(x, dtype) for x in both(z.astype(jnp.float64))]
    reached = [np.asarray(x, np.float64) for x in both(z)]
    for at, limits in LIMITS.items():
        if at[0] == name:
            for x, limit in zip(exact, limits, strict=True):
                x[np.asarray(z, np.float64) == at[1]] = limit
    nan = np.isnan(np.asarray(z, np.float64))
    assert np.array_equal(np.isnan(found[0]), nan)
    for ours, truth, theirs in zip(found, exact, reached, strict=True):
        wrong = far(ours, truth, theirs, dtype, np.abs(truth)) & np.isfinite(truth) & ~nan
        assert not np.any(wrong), f"z {z[wrong]}: found {ours[wrong]}, right {truth[wrong]}"
        infinite = np.isinf(truth)
        assert np.array_equal(ours[infinite], truth[infinite])


def placed(args, dtype):
    """The arguments with each value in one place, a row and a column of each floating leaf, stacked.

    Of the largest there is one alone: whether a sum of several overflows depends on its order.
    """
    largest = float(jnp.finfo(dtype).max)
    leaves, tree = jax.tree.flatten(oracle.cast(args, dtype))
    every = [
        [*leaves[:which], jnp.asarray(leaf).at[place].set(value), *leaves[which + 1 :]]
        for which, leaf in enumerate(leaves)
        if oracle.is_floating(leaf)
        for place in {(0,) * leaf.ndim, (0,), (..., 0)}
        for value in values(dtype)
        if place == (0,) * leaf.ndim or not largest / UNITS < abs(float(value)) < np.inf
    ]
    return jax.tree.unflatten(tree, [jnp.stack(column) for column in zip(*every, strict=True)])


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.__name__)
@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("activations.")])
def test_an_op_with_a_value_in_a_place_a_row_or_a_column(name, dtype):
    case = CASES[name]
    example = case.examples[0]
    args = jax.tree.map(jnp.asarray, example.args)
    pair = of_op(case.op, case.reference, **example.static)
    shape = jax.eval_shape(pair.reference, *args).shape
    d_output = jnp.asarray(np.random.default_rng(0).normal(size=shape))

    def run(function, args, dtype):
        each = jax.jit(jax.vmap(functools.partial(function, d_output=d_output.astype(dtype))))
        output, cotangents = each(args)
        return [np.asarray(x, np.float64) for x in jax.tree.leaves((output, cotangents))]

    stacked = placed(args, dtype)
    theirs = lambda args, d_output: oracle.value_and_vjp(case.reference, args, d_output)  # noqa: E731
    ours = run(pair.run, stacked, dtype)
    reached = run(theirs, stacked, dtype)
    exact = [rounded(x, dtype) for x in run(theirs, oracle.cast(stacked, jnp.float64), jnp.float64)]
    assert len(ours) == len(exact)
    for leaf, (a, e, r) in enumerate(zip(ours, exact, reached, strict=True)):
        others = tuple(range(1, e.ndim))
        largest = np.max(np.abs(e), others, initial=0, where=np.isfinite(e), keepdims=True)
        wrong = far(a, e, r, dtype, largest) & np.isfinite(r)
        first = int(np.argmax(np.any(wrong, others)))
        assert not np.any(wrong), f"leaf {leaf}, {jax.tree.map(lambda x, n=first: x[n], stacked)}"


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_gelu_tanh_keeps_its_digits_in_the_tail(dtype):
    z = jnp.array([-4, -5, -6], dtype)
    expected = [-7.02459e-5, -2.29180e-7, -8.4396e-11]
    assert np.allclose(activations.gelu_tanh.fwd(z)[0], expected, rtol=2e-5, atol=0)
