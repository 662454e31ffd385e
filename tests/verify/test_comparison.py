"""What is right, within rounding: few digits, mixed dtypes, random numbers, kinks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jax_ref import verify
from tests.verify.layer import NO_SHRINKING, VALUES_ALONE, B, W, X, bwd, fwd, reference


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32, jnp.bfloat16])
def test_a_right_gradient_is_right(dtype):
    args = [jnp.asarray(a, dtype) for a in (X, W, B)]
    for seed in range(5):
        report = verify.check(fwd, bwd, *args, reference=reference, seed=seed)
        assert report.ok, str(report)
        assert [leaf.path for leaf in report.leaves] == ["x", "w", "b"]
        assert all(leaf.verdict == "right" for leaf in report.leaves)


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


@pytest.mark.parametrize(
    "dtype",
    ["float64", "bfloat16", *(pytest.param(d, marks=pytest.mark.slow) for d in ("float32", "float16"))],
)
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


@pytest.mark.parametrize(
    ("dtype", "x64"),
    [
        ("float64", True),
        ("float32", False),
        *(pytest.param(d, x, marks=pytest.mark.slow) for d, x in [("float32", True), ("bfloat16", True)]),
        pytest.param("bfloat16", False, marks=pytest.mark.slow),
    ],
)
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


def test_a_kink_is_undecided():
    def leaky(x):
        return jnp.maximum(x, 0)  # autodiff says 1/2 at 0

    x = np.array([[1.0, 0.0, -2.0], [0.5, -0.5, 0.0]])
    report = verify.check(
        lambda x: (leaky(x), x > 0), lambda on, d: (jnp.where(on, d, 0),), x, reference=leaky
    )
    assert report.ok, str(report)
    assert any(line.startswith("x[0, 1] (example)") for line in report.undecided)


def test_a_convention_at_kinks_can_be_asked_for():
    def rectified(x):
        return jax.nn.relu(x)  # autodiff says 0 at 0

    x = np.array([[1.0, 0.0, -2.0], [0.5, -0.5, 0.0]])
    pair = lambda x: (rectified(x), x >= 0), lambda on, d: (jnp.where(on, d, 0),)
    assert verify.check(*pair, x, reference=rectified).ok
    report = verify.check(*pair, x, reference=rectified, kinks="autodiff")
    assert [(f.kind, "where x is 0" in f.text) for f in report.findings] == [("conditional", True)]


def test_a_bend_is_no_kink():
    def wave(x):
        return jnp.sin(2 * jnp.pi * x)  # at large x its slope changes sign within a step

    report = verify.check(
        lambda x: (wave(x), x), lambda x, d: (2 * d * jnp.pi * jnp.sin(2 * jnp.pi * x),), X, reference=wave,
        skip=VALUES_ALONE,
    )  # fmt: skip
    assert not report.ok
    assert not report.undecided


def test_an_argument_with_nan():
    x = np.where(np.eye(4, 3, dtype=bool), np.nan, X)
    report = verify.check(
        lambda x: (jnp.nan_to_num(x), x), lambda x, d: (jnp.where(jnp.isnan(x), 0, d),), x,
        reference=jnp.nan_to_num, skip=NO_SHRINKING,
    )  # fmt: skip
    assert report.ok, str(report)
