"""The checks besides that of the cotangents: output, linearity, transforms, batches, reference."""

import jax
import jax.numpy as jnp
import numpy as np

from jax_ref import verify
from jax_ref.verify.checks import finite_differences
from tests.verify.layer import NO_SHRINKING, VALUES_ALONE, B, W, X, bwd, fwd, reference


def test_a_wrong_forward_is_told_from_a_wrong_backward():
    report = verify.check(
        lambda x, w, b: (2 * fwd(x, w, b)[0], fwd(x, w, b)[1]), bwd, X, W, B, reference=reference
    )
    assert [(f.kind, f.path) for f in report.findings] == [("forward", "output")]


def test_an_output_with_integers():
    def largest(x):
        return jnp.max(x, -1), jnp.argmax(x, -1)

    def back(at, d):
        return (jax.nn.one_hot(at, 3, dtype=d[0].dtype) * d[0][:, None],)

    assert verify.check(
        lambda x: (largest(x), largest(x)[1]), back, X, reference=largest, skip=VALUES_ALONE
    ).ok
    report = verify.check(
        lambda x: ((largest(x)[0], largest(x)[1] * 0), largest(x)[1]),
        back,
        X,
        reference=largest,
        skip=VALUES_ALONE,
    )
    assert [(f.kind, f.path) for f in report.findings] == [("forward", "output[1]")]


def test_a_batch_that_the_output_has_no_more():
    def mean_square(x, y):
        return jnp.mean((x - y) ** 2)

    def back(e, d, of_one):
        dx = d * 2 * e / e.size
        dx = dx if len(e) > 1 else of_one * dx
        return dx, -dx

    pair = lambda x, y: (mean_square(x, y), x - y)  # noqa: E731
    assert verify.check(
        pair, lambda e, d: back(e, d, 1), X, X[::-1], reference=mean_square, skip=NO_SHRINKING
    ).ok
    report = verify.check(
        pair, lambda e, d: back(e, d, 2), X, X[::-1], reference=mean_square, skip=NO_SHRINKING
    )
    assert {f.kind for f in report.findings} == {"batch"}


def test_not_deterministic():
    calls = iter(range(10_000))

    def noisy(res, d):
        noise = jax.pure_callback(lambda: np.float64(next(calls)), jax.ShapeDtypeStruct((), jnp.float64))
        return tuple(c * (1 + 1e-15 * noise) for c in bwd(res, d))

    report = verify.check(fwd, noisy, X, W, B, reference=reference, level="default")
    assert "not deterministic" in {f.kind for f in report.findings}


def test_a_forward_that_is_not_deterministic():
    calls = iter(range(10_000))

    def noisy(x, w, b):
        y, res = fwd(x, w, b)
        return y + 1e-18 * next(calls), res

    report = verify.check(noisy, bwd, X, W, B, reference=reference)
    assert [(f.kind, f.path) for f in report.findings] == [("not deterministic", "")]


def test_a_wrong_reference_is_told_from_a_wrong_backward():
    def stopped(x, w, b):
        return jnp.tanh(jnp.dot(x, jax.lax.stop_gradient(w)) + b[None])

    report = verify.check(fwd, bwd, X, W, B, reference=stopped)
    assert "reference" in [f.kind for f in report.findings]


def test_a_small_kink_in_a_bent_function_has_no_slope():
    bent = lambda h: np.exp(h) + 5 * h * h  # noqa: E731
    found, error = finite_differences.slope(bent, 1.0)
    assert abs(found - 1) <= max(20 * error, 1e-9) < 1e-6
    assert not np.isfinite(finite_differences.slope(lambda h: bent(h) + 1e-3 * abs(h), 1.0)[1])
