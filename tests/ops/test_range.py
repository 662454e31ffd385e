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


OTHER_AT_NAN = {"pool.max": "the first NaN of a window has its gradient, where JAX goes on from it"}
"""Ops with a convention of their own at NaN."""


LARGE_VALUE = "the products do . v of it are subtracted from each other, and what is left is rounding"

LEFT_OUT = {
    "lstm": {
        5: "a large cell: autodiff adds two cotangents of opposite sign that drown the one that counts; in "
        "forward mode it agrees with ours, which does not add them"
    },
    "group_norm": {
        0: "a large gain is in every row",
        2: "of a group of equal entries rounding is left alone",
    },
    "frozen_batch_norm": {3: "a large mean is in every row"},
    "attention": {2: LARGE_VALUE},
    "plain_attention": {2: LARGE_VALUE},
    "linear_cross_entropy": {
        0: "a row of equal weights meets the sum of p - q, which is zero but for rounding"
    },
}
"""Leaves of the arguments, by number, that are given no values beyond a hundred, and why."""

LEFT_OUT_IN_FLOAT64 = {
    name: {2: "of equal entries the reference is left with rounding, ours with nothing"}
    for name in ("layer_norm", "batch_norm")
}
"""The same where the oracle is no wider than what it is held against."""

MORE_UNITS = {"lstm": 2.0, "attention": 100.0, "plain_attention": 100.0}
"""Times UNITS for several steps, one on the other; scores of hundreds are rounded by as many units."""


def values(dtype):
    """Some 80 values: both signs of powers over the whole range, the ends of it, infinities and NaN."""
    info = jnp.finfo(dtype)
    powers = 2.0 ** np.linspace(info.minexp, info.maxexp - 1, 33)
    ends = [0.0, float(info.smallest_subnormal), float(info.max), 1.0, 4.0, 6.0, np.inf]
    positive = np.concatenate([ends, powers])
    return np.concatenate([positive, -positive, [np.nan]]).astype(dtype)


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
    with np.errstate(over="ignore"):
        return x.astype(dtype).astype(np.float64)


def in_float64(tree):
    """The leaves of a tree of results."""
    return [np.asarray(x).astype(np.float64) for x in jax.tree.leaves(tree)]


@pytest.mark.parametrize("name", activations.MEMBERS)
def test_an_activation_over_the_whole_range(name):
    case = CASES[f"activations.{name}"]

    @jax.jit
    def ours(z):
        a, residuals = case.op.fwd(z)
        return a, case.op.bwd(residuals, jnp.ones_like(z))

    theirs = jax.jit(lambda z: (case.reference(z), jax.vmap(jax.grad(case.reference))(z)))
    for dtype in DTYPES:
        z = values(dtype)
        wide = z.astype(np.float64)
        found, reached = in_float64(ours(z)), in_float64(theirs(z))
        exact = [rounded(x, dtype) for x in in_float64(theirs(wide))]
        for at, limits in LIMITS.items():
            if at[0] == name:
                for x, limit in zip(exact, limits, strict=True):
                    x[wide == at[1]] = limit
        assert np.array_equal(np.isnan(found[0]), np.isnan(wide))
        for a, e, r in zip(found, exact, reached, strict=True):
            wrong = far(a, e, r, dtype, np.abs(e)) & np.isfinite(e) & ~np.isnan(wide)
            assert not np.any(wrong), f"{z.dtype}, z {z[wrong]}: found {a[wrong]}, right {e[wrong]}"
            assert np.array_equal(a[np.isinf(e)], e[np.isinf(e)])


def placed(name, args, dtype):
    """The arguments with each value in one place, a row and a column of each floating leaf, stacked.

    Of the largest there is one alone: whether a sum of several overflows depends on its order.
    """
    leaves, tree = jax.tree.flatten(oracle.cast(args, dtype))
    largest = float(jnp.finfo(dtype).max)
    left_out = LEFT_OUT.get(name, {}) | (LEFT_OUT_IN_FLOAT64.get(name, {}) if dtype == jnp.float64 else {})
    every = []
    for which, leaf in enumerate(leaves):
        if not oracle.is_floating(leaf):
            continue
        for place in {(0,) * leaf.ndim, (0,), (..., 0)}:
            for value in values(dtype):
                if which in left_out and abs(float(value)) > 100:
                    continue
                if place == (0,) * leaf.ndim or not largest / UNITS < abs(float(value)) < np.inf:
                    changed = np.array(leaf)
                    changed[place] = value
                    every.append([*leaves[:which], changed, *leaves[which + 1 :]])
    return jax.tree.unflatten(tree, [stack(column) for column in zip(*every, strict=True)])


def stack(column):
    """The same leaf of several arguments; keys are no arrays of numpy's."""
    return np.stack(column) if all(isinstance(x, np.ndarray) for x in column) else jnp.stack(column)


@pytest.mark.parametrize("dtypes", [DTYPES[1:2], pytest.param(DTYPES, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("activations.")])
def test_an_op_with_a_value_in_a_place_a_row_or_a_column(name, dtypes):
    case = CASES[name]
    example = case.examples[0]
    pair = of_op(case.op, case.reference, **example.static)
    output = jax.eval_shape(pair.reference, *jax.tree.map(jnp.asarray, example.args))
    rng = np.random.default_rng(0)
    d_output = jax.tree.map(lambda y: rng.normal(size=y.shape), output)
    ours = jax.jit(jax.vmap(pair.run, (0, None)))
    theirs = jax.jit(jax.vmap(functools.partial(oracle.value_and_vjp, pair.reference), (0, None)))
    for dtype in dtypes:
        stacked = placed(name, example.args, dtype)
        of = jax.eval_shape(pair.reference, *jax.tree.map(jnp.asarray, oracle.cast(example.args, dtype)))
        d = jax.tree.map(lambda v, y: v.astype(y.dtype), d_output, of)
        found, reached = in_float64(ours(stacked, d)), in_float64(theirs(stacked, d))
        wide = oracle.cast((stacked, d), jnp.float64)
        exact = [rounded(x, dtype) for x in in_float64(theirs(*wide))]
        for leaf, (a, e, r) in enumerate(zip(found, exact, reached, strict=True)):
            others = tuple(range(1, e.ndim))
            largest = np.max(np.abs(e), others, initial=0, where=np.isfinite(e), keepdims=True)
            wrong = far(a, e, r, dtype, largest * MORE_UNITS.get(name, 1)) & np.isfinite(r)
            if name in OTHER_AT_NAN:
                wrong &= ~np.isnan(in_float64(stacked)[0]).reshape(len(wrong), -1).any(1).reshape(
                    -1, *(1,) * (e.ndim - 1)
                )
            first = int(np.argmax(np.any(wrong, others)))
            at = jax.tree.map(lambda x, n=first: x[n], stacked)
            assert not np.any(wrong), f"{jnp.dtype(dtype)}, leaf {leaf}: {at}"


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_gelu_tanh_keeps_its_digits_in_the_tail(dtype):
    z = jnp.array([-4, -5, -6], dtype)
    expected = [-7.02459e-5, -2.29180e-7, -8.4396e-11]
    assert np.allclose(activations.gelu_tanh.fwd(z)[0], expected, rtol=2e-5, atol=0)
