"""The verifier where digits are few: mixed dtypes, dtypes fixed inside, random numbers, rounding, kinks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jax_ref import verify
from jax_ref.verify.checks import finite_differences
from tests.verify.layer import NO_SHRINKING, VALUES_ALONE, B, W, X

SEEDS = range(3)


def mixed(x, w, b):
    """Activations in bfloat16, weights in float32."""
    return (jnp.dot(x.astype(jnp.float32), w) + b[None]).astype(x.dtype)


def mixed_back(res, dy, d_bias):
    x, w = res
    dz = dy.astype(jnp.float32)
    return jnp.dot(dz, w.T).astype(x.dtype), jnp.dot(x.astype(jnp.float32).T, dz), d_bias(dy)


def summed_in_bfloat16(dy):
    return lax.reduce(dy, jnp.zeros((), dy.dtype), lax.add, (0,)).astype(jnp.float32)


@pytest.mark.parametrize("seed", SEEDS)
def test_leaves_of_mixed_dtypes_are_held_to_their_own(seed):
    args = np.tile(X, (8, 1)).astype(jnp.bfloat16), W.astype(np.float32), B.astype(np.float32)

    def report(d_bias):
        return verify.check(
            lambda x, w, b: (mixed(x, w, b), (x, w)),
            lambda res, dy: mixed_back(res, dy, d_bias),
            *args, reference=mixed, seed=seed, skip=NO_SHRINKING,
        )  # fmt: skip

    right = report(lambda dy: dy.astype(jnp.float32).sum(0))
    assert right.ok, str(right)
    assert "the reference rounds to float32 inside: no more digits are asked for" in right.notes
    wrong = report(summed_in_bfloat16)
    assert [(f.kind, f.path) for f in wrong.findings] == [("precision", "b")], str(wrong)


def root_mean_square(x):
    h = x.astype(jnp.float32)
    return (h * lax.rsqrt(jnp.mean(h * h, -1, keepdims=True) + 1e-6)).astype(x.dtype)


def root_mean_square_back(x, dy, factor):
    h, dy = x.astype(jnp.float32), dy.astype(jnp.float32)
    scale = lax.rsqrt(jnp.mean(h * h, -1, keepdims=True) + 1e-6)
    dx = scale * (dy - h * scale**2 * jnp.mean(h * dy, -1, keepdims=True))
    return (jnp.float32(factor) * dx.astype(jnp.float32)).astype(x.dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_a_reference_with_a_dtype_of_its_own(dtype):
    def report(factor):
        return verify.check(
            lambda x: (root_mean_square(x), x),
            lambda x, dy: (root_mean_square_back(x, dy, factor),),
            X.astype(dtype), reference=root_mean_square, skip=NO_SHRINKING,
        )  # fmt: skip

    assert report(1).ok, str(report(1))
    assert [f.kind for f in report(1.1).findings] == ["factor"]


def dropped(x, key):
    return jnp.where(jax.random.bernoulli(key, 0.7, x.shape), x / 0.7, 0)


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("x64", [True, False])
def test_a_reference_that_draws_random_numbers(dtype, x64):
    def report(scale):
        return verify.check(
            lambda x, key: (dropped(x, key), key),
            lambda key, dy: (jnp.where(jax.random.bernoulli(key, 0.7, dy.shape), dy / scale, 0), None),
            X.astype(dtype), jax.random.key(1), reference=dropped, skip=NO_SHRINKING,
        )  # fmt: skip

    if not x64 and dtype == "float64":
        pytest.skip("a process without float64 has no arguments in it")
    with jax.enable_x64(x64):
        assert report(0.7).ok, str(report(0.7))
        wrong = report(1)
    assert [f.kind for f in wrong.findings] == ["factor"], str(wrong)


def test_what_is_right_in_float64_loses_digits():
    def back(x, d):
        dx = d * jnp.cos(x)
        return ((1000 * dx + dx) - 1000 * dx,)

    def report(dtype):
        x = X.astype(dtype)
        return verify.check(lambda x: (jnp.sin(x), x), back, x, reference=jnp.sin, skip=NO_SHRINKING)

    assert report("float64").ok, str(report("float64"))
    found = report("float32").findings
    assert [f.kind for f in found] == ["precision"]
    assert "it is right in float64, but off by" in found[0].text


def test_a_bend_is_no_kink():
    def wave(x):
        return jnp.sin(2 * jnp.pi * x)  # at large x its slope changes sign within a step

    report = verify.check(
        lambda x: (wave(x), x), lambda x, d: (2 * d * jnp.pi * jnp.sin(2 * jnp.pi * x),), X, reference=wave,
        skip=VALUES_ALONE,
    )  # fmt: skip
    assert not report.ok
    assert not report.undecided


def test_a_small_kink_in_a_bent_function_has_no_slope():
    bent = lambda h: np.exp(h) + 5 * h * h  # noqa: E731
    found, error = finite_differences.slope(bent, 1.0)
    assert abs(found - 1) <= max(20 * error, 1e-9) < 1e-6
    assert not np.isfinite(finite_differences.slope(lambda h: bent(h) + 1e-3 * abs(h), 1.0)[1])


def test_an_argument_with_nan():
    x = np.where(np.eye(4, 3, dtype=bool), np.nan, X)
    report = verify.check(
        lambda x: (jnp.nan_to_num(x), x), lambda x, d: (jnp.where(jnp.isnan(x), 0, d),), x,
        reference=jnp.nan_to_num, skip=NO_SHRINKING,
    )  # fmt: skip
    assert report.ok, str(report)
