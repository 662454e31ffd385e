"""A mistake is one in every dtype: what float64 shows is told whatever the example is in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_ref import verify
from tests.verify.layer import VALUES_ALONE, and_slow

RNG = np.random.default_rng(2)
X = RNG.normal(size=(5, 7))
Z, LABELS = RNG.normal(size=(6, 4)), np.array([0, 3, 1, 1, 2, 0])


def wide(x):
    return x.astype(jnp.float32) if x.dtype.itemsize < 4 else x


def normalised(x):
    z = x - jnp.mean(x, -1, keepdims=True)
    return z * jax.lax.rsqrt(jnp.mean(z * z, -1, keepdims=True) + 1e-5)


def normalised_back(x, dy, ddof=0):
    h, d = wide(x), wide(dy)
    z = h - jnp.mean(h, -1, keepdims=True)
    r = jax.lax.rsqrt(jnp.var(h, -1, keepdims=True, ddof=ddof) + 1e-5)
    y = z * r
    dx = r * (d - jnp.mean(d, -1, keepdims=True) - y * jnp.mean(d * y, -1, keepdims=True))
    return (dx.astype(x.dtype),)


def largest(x):
    return jnp.max(x, -1)


def largest_back(x, dy):
    at = x == jnp.max(x, -1, keepdims=True)
    return (jnp.where(at, dy[:, None] / at.sum(-1, keepdims=True, dtype=dy.dtype), 0),)


def cross_entropy(z, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(z), labels[:, None], 1)[:, 0]


def cross_entropy_back(residuals, d, mass=0.0):
    z, labels = residuals
    target = (1 - mass) * jax.nn.one_hot(labels, 4, dtype=wide(z).dtype) + mass / 4
    return ((jax.nn.softmax(wide(z)) - target) * wide(d)[:, None]).astype(z.dtype), None


def one_is_off(x, dy):
    dx = dy * jnp.cos(x)
    return (dx.at[1, 2].multiply(1.01),)


PAIRS = {
    "layer norm": (normalised, lambda x: x, normalised_back, (X,), True),
    "the variance of a sample": (
        normalised, lambda x: x, lambda x, dy: normalised_back(x, dy, ddof=1), (np.tile(X, 9),), False,
    ),
    "maximum": (largest, lambda x: x, largest_back, (X,), True),
    "each tie has it all": (
        largest, lambda x: x, lambda x, dy: (jnp.where(x == jnp.max(x, -1, keepdims=True), dy[:, None], 0),),
        (np.round(X),), False,
    ),
    "cross entropy": (cross_entropy, lambda *a: a, cross_entropy_back, (Z, LABELS), True),
    "a little smoothing": (
        cross_entropy, lambda *a: a, lambda r, d: cross_entropy_back(r, d, 0.004), (Z, LABELS), False,
    ),
    "sine": (jnp.sin, lambda x: x, lambda x, d: (d * jnp.cos(x),), (X,), True),
    "one entry": (jnp.sin, lambda x: x, one_is_off, (X,), False),
    "a constant with few digits": (
        jnp.sin, lambda x: x, lambda x, d: (d * jnp.cos(x) * 1.0001,), (X,), False,
    ),
}  # fmt: skip
"""Function, residuals, backward, arguments, and whether it is right."""


@pytest.mark.parametrize("dtype", and_slow("bfloat16", "float64", "float32", "float16"))
@pytest.mark.parametrize("name", PAIRS)
def test_a_pair_is_what_it_is_in_every_dtype(name, dtype):
    function, residuals, back, args, right = PAIRS[name]
    pair = lambda *args: (function(*args), residuals(*args))  # noqa: E731
    args = verify.oracle.cast(args, dtype)
    report = verify.check(pair, back, *args, reference=function, skip=VALUES_ALONE)
    assert report.ok is right, str(report)
    assert {leaf.verdict for leaf in report.leaves} == {"right" if right else "wrong"}


def test_it_is_said_where_only_float64_shows_it():
    function, residuals, back, args, _ = PAIRS["a constant with few digits"]
    asked = {"reference": function, "skip": VALUES_ALONE, "dtypes": ["bfloat16", "float64"]}
    report = verify.check(lambda x: (function(x), residuals(x)), back, *args, **asked)
    assert [(f.kind, "seen in float64" in f.text) for f in report.findings] == [("factor", True)]
    assert ["seen in float64" in leaf.where for leaf in report.leaves] == [True, False]


FIXED = {
    "float32 within": lambda x, d: (
        (d.astype(jnp.float32) * jnp.cos(x.astype(jnp.float32))).astype(x.dtype),
    ),
    "a table in float32": lambda x, d: (d * jnp.cos(x) * jnp.ones((1, 7), jnp.float32).astype(x.dtype),),
    "digits of float32 written out": lambda x, d: (d * jnp.cos(x) * (0.3183099 * 3.1415927),),
    "no float64": lambda x, d: (d * jnp.cos(x) if x.dtype != np.float64 else d @ x,),
}
"""Right in float32 and in what is narrower: what they do in float64 is not held against them there."""


@pytest.mark.parametrize("dtype", and_slow("float32", "bfloat16"))
@pytest.mark.parametrize("name", FIXED)
def test_what_is_fixed_inside_stays_right(name, dtype):
    pair = lambda x: (jnp.sin(x), x)  # noqa: E731
    report = verify.check(pair, FIXED[name], X.astype(dtype), reference=jnp.sin, skip=VALUES_ALONE)
    assert report.ok, str(report)


def test_a_cotangent_in_bfloat16_that_goes_through_float16():
    def bwd(x, dy):
        return ((dy.astype(jnp.float16) * x.astype(jnp.float16)).astype(x.dtype),)

    x = np.linspace(0.5, 2, 6).reshape(3, 2).astype(jnp.bfloat16)
    report = verify.check(lambda x: (x * x / 2, x), bwd, x, reference=lambda x: x * x / 2, level="quick")
    assert [f.kind for f in report.findings] == ["not linear"]
    assert "times the cotangent of the output it is not finite" in report.findings[0].text


def test_a_cotangent_in_float16_that_is_drawn_as_zero():
    x = np.ones(1, np.float16)
    for seed in (4, 17):
        report = verify.check(
            lambda x: (x[0] ** 2, x), lambda x, dy: (2 * x * dy,), x, reference=lambda x: x[0] ** 2,
            level="quick", seed=seed,
        )  # fmt: skip
        assert report.ok, str(report)
