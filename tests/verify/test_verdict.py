"""The third verdict: what is right in float64 and has fewer digits than autodiff's own is imprecise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jax_ref import verify
from jax_ref.ops.attention import apply as reference_attention
from manual_bp.ops import plain_attention
from tests.verify.layer import NO_SHRINKING, VALUES_ALONE, X, and_slow


def logsumexp(x):
    return jax.nn.logsumexp(x)


def saved(x):
    return logsumexp(x), (x, logsumexp(x))


def rebuilt(residuals, dy):
    """The probabilities from the saved output, as everybody writes it."""
    x, y = residuals
    return (jnp.exp(x - y) * dy,)


def of_logsumexp(seed, precision="example"):
    x = np.random.default_rng(seed).normal(size=(4, 6)).astype(np.float32)
    asked = {"seed": seed, "precision": precision, "skip": VALUES_ALONE}
    return verify.check(saved, rebuilt, x, reference=logsumexp, **asked)


def test_digits_lost_far_out_are_told_and_no_fault():
    reports = [of_logsumexp(seed) for seed in range(25)]
    assert all(report.ok for report in reports)
    imprecise = [report for report in reports if report.imprecise]
    assert imprecise
    for report in imprecise:
        assert [leaf.verdict for leaf in report.leaves] == ["imprecise"]
        assert {f.kind for f in report.imprecise} == {"precision"}
        assert "right, as far as was looked, but imprecise at some points" in str(report)
        assert "\nimprecise: [precision] x: it is right in float64, but off by" in str(report)


def less_exact(x, d):
    """The derivative of the sine, with three digits cancelled."""
    dx = d * jnp.cos(x)
    return ((1000 * dx + dx) - 1000 * dx,)


FAULTY = {"everywhere": True, "example": True, "report": False}


@pytest.mark.parametrize("precision", and_slow("report", "example", "everywhere"))
def test_digits_lost_at_the_example_are_a_fault_where_asked_for(precision):
    pair = lambda x: (jnp.sin(x), x)  # noqa: E731
    asked = {"reference": jnp.sin, "precision": precision, "skip": NO_SHRINKING}
    report = verify.check(pair, less_exact, X.astype(np.float32), **asked)
    assert report.ok is not FAULTY[precision]
    assert [f.kind for f in (*report.findings, *report.imprecise)] == ["precision"]
    assert ("IMPRECISE" in str(report)) is FAULTY[precision]
    assert [leaf.verdict for leaf in report.leaves] == ["imprecise"]


def test_digits_lost_far_out_are_a_fault_where_asked_for_everywhere():
    far_out = next(seed for seed in range(25) if of_logsumexp(seed).imprecise)
    assert [f.kind for f in of_logsumexp(far_out, "everywhere").findings] == ["precision"]
    with pytest.raises(AssertionError, match="IMPRECISE"):
        verify.assert_gradients(
            saved,
            rebuilt,
            np.random.default_rng(far_out).normal(size=(4, 6)).astype(np.float32),
            reference=logsumexp, seed=far_out, precision="everywhere", skip=VALUES_ALONE,
        )  # fmt: skip


def attention(q, k):
    return jax.nn.softmax(q @ k.T, -1)


def attention_pair(q, k):
    s = q @ k.T
    lse = jax.nn.logsumexp(s, -1, keepdims=True)
    return jnp.exp(s - lse), (q, k, s, lse)


def attention_back(residuals, dp, factor=1.0):
    q, k, s, lse = residuals
    p = jnp.exp(s - lse)
    ds = factor * p * (dp - jnp.sum(p * dp, -1, keepdims=True))
    return ds @ k, ds.T @ q


def log1p_of_square(x):
    return jnp.log1p(x * x)


ROUNDED = {
    "attention": (attention_pair, attention_back, attention, ([[100.1]], [[100.3], [100.4]])),
    "cancelled": (
        lambda x: (log1p_of_square(x), x),
        lambda x, d: (d * ((1e6 + 2 * x / (1 + x * x)) - 1e6),),
        log1p_of_square,
        ([0.3, 0.7, -1.1],),
    ),
    "difference of squares": (
        lambda x: (x - jnp.mean(x), x),
        lambda x, d: (((300 + d) ** 2 - 300**2 - d**2) / 600 - jnp.mean(d),),
        lambda x: x - jnp.mean(x),
        ([0.3, 0.7, -1.1],),
    ),
}
"""Right pairs that lose digits in every dtype, at arguments that show it."""


@pytest.mark.parametrize("name", ROUNDED)
@pytest.mark.parametrize("seed", and_slow(*range(3)))
def test_rounding_is_recognised_in_float64(name, seed):
    fwd, bwd, reference, args = ROUNDED[name]
    report = verify.check(fwd, bwd, *map(np.array, args), reference=reference, seed=seed, skip=VALUES_ALONE)
    assert {f.kind for f in (*report.findings, *report.imprecise)} <= {"precision"}, str(report)
    assert {leaf.verdict for leaf in report.leaves} <= {"right", "imprecise"}, str(report)


@pytest.mark.parametrize("seed", and_slow(5, 17, 32))
def test_what_a_compiler_rounds_in_two_ways_is_no_mistake(seed):
    """Of saturated probabilities: their sum is computed in two places, and with jaxlib 0.10 they differ."""
    q, k, v = (np.random.default_rng(seed).normal(size=(3, 1, 3, 2, 2)).T * (20, 1, 100)).T
    asked = {"seed": seed, "skip": VALUES_ALONE}
    report = verify.check_op(plain_attention, q, k, v, reference=reference_attention, causal=True, **asked)
    assert report.ok, str(report)


@pytest.mark.parametrize("off", and_slow(1e-9, 1e-6, 1e-3))
def test_a_mistake_is_none_of_rounding(off):
    pair = lambda x: (jnp.sin(x), x), lambda x, d: ((1 + off) * d * jnp.cos(x),)
    report = verify.check(*pair, X, reference=jnp.sin, skip=VALUES_ALONE)
    assert [f.kind for f in report.findings] == ["factor"], str(report)
    assert "it is 1 times" not in str(report)
    assert [leaf.verdict for leaf in report.leaves] == ["wrong"]


def test_a_mistake_where_digits_are_lost_is_one():
    q, k = np.array([[100.1]]), np.array([[100.3], [100.4]])
    wrong = lambda residuals, dp: attention_back(residuals, dp, 1.01)  # noqa: E731
    report = verify.check(attention_pair, wrong, q, k, reference=attention, skip=VALUES_ALONE)
    assert [leaf.verdict for leaf in report.leaves] == ["wrong", "wrong"]


def product(x, w):
    return x @ w


def in_chunks(number, dtype=None):
    """The weights' cotangent summed over chunks of the batch, in a dtype or in that of the weights."""

    def back(residuals, dy):
        x, w = residuals
        chunks = (a.reshape(number, -1, a.shape[-1]) for a in (x, dy))
        narrow = dtype or w.dtype
        add = lambda total, at: (total + (at[0].T @ at[1]).astype(narrow), None)  # noqa: E731
        return dy @ w.T, lax.scan(add, jnp.zeros(w.shape, narrow), tuple(chunks))[0].astype(w.dtype)

    return back


ACCUMULATED = {
    "at once": (lambda residuals, dy: (dy @ residuals[1].T, residuals[0].T @ dy), []),
    "over 64 chunks": (in_chunks(64), [("precision", "w")]),
    "over 256 examples": (in_chunks(256), [("precision", "w")]),
}


@pytest.mark.parametrize("how", ACCUMULATED)
@pytest.mark.parametrize("dtype", and_slow("bfloat16", "float16"))
@pytest.mark.parametrize("offset", and_slow(0.0, 1.0))
def test_a_sum_in_few_digits_is_found(how, dtype, offset):
    back, expected = ACCUMULATED[how]
    report = of_product(back, dtype, offset)
    assert [(f.kind, f.path) for f in report.findings] == expected, str(report)


@pytest.mark.parametrize("dtype", and_slow("bfloat16", "float16"))
def test_a_sum_in_a_dtype_of_its_own_is_found(dtype):
    report = of_product(in_chunks(64, jnp.bfloat16), dtype, 0.0)
    assert {f.path for f in report.findings} == {"w"}, str(report)


def of_product(back, dtype, offset):
    rng = np.random.default_rng(0)
    x, w = (rng.normal(size=(256, 6)) + offset).astype(dtype), rng.normal(size=(6, 5)).astype(dtype)
    pair = lambda x, w: (x @ w, (x, w))  # noqa: E731
    asked = {"reference": product, "skip": VALUES_ALONE | {"batches": "chunks divide this one"}}
    return verify.check(pair, back, x, w, **asked)
