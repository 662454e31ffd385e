"""Where the oracle is wrong or has no answer: ties in smooth functions, overflow, gradients that are zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jax_ref import verify
from tests.verify.layer import VALUES_ALONE, and_slow

RNG = np.random.default_rng(0)
WITH_REFERENCE = {part: why for part, why in VALUES_ALONE.items() if part != "reference"}
X = RNG.normal(size=(3, 4))
WITH_ZERO = np.array([[1.0, 0.0, -2.0], [0.5, -0.5, 0.3]])


def softplus(x):
    return jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


def length(x):
    """The square of the length, by the larger and the smaller of both."""
    return jnp.maximum(x[:, 0], x[:, 1]) ** 2 + jnp.minimum(x[:, 0], x[:, 1]) ** 2


def log_cosh(x):
    return jnp.abs(x) + jnp.log1p(jnp.exp(-2 * jnp.abs(x)))


TIES = {
    "softplus": (softplus, lambda x: jax.nn.sigmoid(x), WITH_ZERO, WITH_ZERO == 0),
    "log cosh": (log_cosh, lambda x: jnp.tanh(x), WITH_ZERO, WITH_ZERO == 0),
    "softplus, no zero given": (softplus, lambda x: jax.nn.sigmoid(x), X, None),
}
"""A smooth function made of parts that are not, its derivative, arguments, and where its parts have a tie."""


def of_tie(name, dtype, back):
    function, slope, x, _ = TIES[name]
    pair = lambda x: (function(x), x), lambda x, d: (d * back(slope(x), x),)
    return verify.check(*pair, x.astype(dtype), reference=function, skip=WITH_REFERENCE)


@pytest.mark.parametrize("dtype", and_slow("bfloat16", "float64", "float32"))
@pytest.mark.parametrize("name", and_slow(*TIES))
def test_at_a_tie_in_a_smooth_function_differences_are_right(name, dtype):
    """Autodiff of `log_cosh` at 0 is right, but for `abs`, whose derivative is 1 there: 1 - 2/2."""
    right = of_tie(name, dtype, lambda slope, x: slope)
    assert {f.kind for f in right.findings} <= {"reference"}, str(right)
    assert [leaf.verdict for leaf in right.leaves] == ["right"]
    off = of_tie(name, dtype, lambda slope, x: jnp.where(x == 0, slope + 0.5, slope))
    assert "wrong" in {leaf.verdict for leaf in off.leaves}, str(off)
    if name != "log cosh":
        assert [f.kind for f in right.findings] == ["reference"]
        assert "by differences to both sides" in right.findings[0].text


def rectified_softplus(x):
    return jax.nn.relu(x - 1) + softplus(x)


def test_a_kink_beside_a_tie_stays_undecided():
    x = np.array([[1.0, 0.0, -2.0], [0.5, 1.0, 0.3]])
    for at_kink in (0.0, 1.0):
        back = lambda x, d, at=at_kink: (  # noqa: E731
            d * (jax.nn.sigmoid(x) + jnp.where(x == 1, at, (x > 1).astype(x.dtype))),
        )
        report = verify.check(
            lambda x: (rectified_softplus(x), x), back, x, reference=rectified_softplus, skip=WITH_REFERENCE
        )
        assert {f.kind for f in report.findings} == {"reference"}, str(report)
        assert bool(report.undecided) is (at_kink > 0)  # autodiff says 0


def sharp(x):
    return jax.nn.softmax(1e5 * x)


def test_what_bends_within_a_step_has_no_tie():
    def back(p, d):
        return (1e5 * p * (d - jnp.sum(p * d, -1, keepdims=True)),)

    x = np.array([[0.5, 0.5, 0.2], [0.1, 0.1, 0.1]])
    report = verify.check(lambda x: (sharp(x), sharp(x)), back, x, reference=sharp, skip=WITH_REFERENCE)
    assert not report.findings, str(report)


def tanh_of_cube(x):
    return jnp.tanh(x**3)


def at_once(x, d):
    return (d * (1 - tanh_of_cube(x) ** 2) * (3 * x * x),)


def where_it_is_not_flat(x, d):
    flat = jnp.abs(x) > 8
    return (jnp.where(flat, 0, at_once(jnp.where(flat, 0, x), d)[0]),)


def exp_ratio(x, d):
    return (d * jnp.exp(x) / (1 + jnp.exp(x)),)


FINITE = {
    "NaN by overflow": (tanh_of_cube, at_once, "float16", ["not finite"]),
    "no overflow": (tanh_of_cube, where_it_is_not_flat, "float16", []),
    "overflow of float16 alone": (tanh_of_cube, at_once, "bfloat16", []),
    "both overflow": (jax.nn.softplus, exp_ratio, "float32", ["not finite"]),
    "the true value is beyond the range": (lambda x: x * x, lambda x, d: (2 * x * d,), "float16", []),
    "NaN by an output beyond the range": (
        lambda x: jnp.sqrt(1 + x**4),
        lambda x, d: (d * (2 * x**3) / jnp.sqrt(1 + x**4),),
        "float16",
        [],
    ),
    "the true gradient is beyond the range": (
        lambda x: 1e4 * x, lambda x, d: (1e4 * d,), "float16", [],
    ),
}  # fmt: skip


UNKNOWN = ("NaN by an output beyond the range",)


@pytest.mark.parametrize("name", FINITE)
def test_it_is_finite_where_the_true_gradient_is(name):
    function, back, dtype, kinds = FINITE[name]
    report = verify.check(
        lambda x: (function(x), x), back, X.astype(dtype), reference=function, skip=VALUES_ALONE
    )
    assert [f.kind for f in report.findings] == kinds, str(report)
    assert any("overflows in its dtype" in note for note in report.notes) is (name in UNKNOWN)


def log_of_sum(x):
    return jnp.log(jnp.sum(jnp.exp(x), -1))


OVERFLOWING = {
    "softplus": (
        lambda x: jnp.logaddexp(x, 0), lambda x, d: (d * jax.nn.sigmoid(x),),
        lambda x: jnp.log(1 + jnp.exp(x)),
    ),
    "logsumexp": (
        lambda x: jax.nn.logsumexp(x, -1), lambda x, d: (d[:, None] * jax.nn.softmax(x),), log_of_sum,
    ),
}  # fmt: skip
"""A stable pair, and a reference that overflows where arguments are large."""


@pytest.mark.parametrize("dtype", and_slow("bfloat16", "float64", "float32"))
@pytest.mark.parametrize("name", and_slow(*OVERFLOWING))
def test_a_reference_that_overflows_is_not_held_against_the_pair(name, dtype):
    function, back, reference = OVERFLOWING[name]
    asked = {"reference": reference, "skip": VALUES_ALONE}
    report = verify.check(lambda x: (function(x), x), back, X.astype(dtype), **asked)
    assert report.ok, str(report)
    assert any(n.startswith("not judged at large") and "the reference overflows" in n for n in report.notes)
    twice = verify.check(
        lambda x: (function(x), x), lambda x, d: (2 * back(x, d)[0],), X.astype(dtype), **asked
    )
    assert [f.kind for f in twice.findings] == ["factor"]


def stopped(x, t):
    return {"y": x["a"] * lax.stop_gradient(t) + x["b"]}


@pytest.mark.parametrize("dtype", and_slow("float64", "bfloat16"))
def test_none_is_right_where_the_gradient_is_zero(dtype):
    x, t = verify.oracle.cast(({"a": X, "b": X[::-1]}, X + 2), dtype)
    pair = lambda x, t: (stopped(x, t), t)  # noqa: E731
    asked = {"reference": stopped, "skip": VALUES_ALONE}
    report = verify.check(pair, lambda t, d: ({"a": d["y"] * t, "b": d["y"]}, None), x, t, **asked)
    assert report.ok, str(report)
    assert "None is returned for t, whose gradient by the reference is zero" in report.notes
    report = verify.check(pair, lambda t, d: ({"a": None, "b": d["y"]}, 0 * t), x, t, **asked)
    assert [(f.kind, f.path) for f in report.findings] == [("structure", "x['a']")]
    assert "the cotangent is None, which JAX takes for zero" in report.findings[0].text


def direction(x):
    square = jnp.sum(x * x, -1, keepdims=True)
    return x * jnp.where(square > 0, lax.rsqrt(jnp.where(square > 0, square, 1)), 0)


def test_a_jump_is_no_tie():
    def back(x, d):
        y, square = direction(x), jnp.sum(x * x, -1, keepdims=True)
        over = jnp.where(square > 0, lax.rsqrt(jnp.where(square > 0, square, 1)), 0)
        return (over * (d - y * jnp.sum(d * y, -1, keepdims=True)),)

    x = np.array([[1.0, 2.0], [0.0, 0.0], [-1.0, 0.5]])
    report = verify.check(lambda x: (direction(x), x), back, x, reference=direction, skip=VALUES_ALONE)
    assert report.ok, str(report)
