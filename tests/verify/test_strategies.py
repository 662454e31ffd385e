"""Hypothesis strategies: examples for the verifier, and the verifier inside a property."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from jax_ref import verify
from jax_ref.verify import strategies
from tests.verify.layer import B, W, X, bwd, fwd, reference, wrong

negated = wrong(lambda dx, dw, db, res, dy: (dx, dw, -db))


def test_examples_of_a_strategy():
    drawn = st.tuples(
        strategies.floats((4, 3), np.float64), strategies.floats((3, 5), np.float64), st.just(B)
    )
    assert verify.check(fwd, bwd, reference=reference, examples=drawn, level="quick").ok
    report = verify.check(fwd, negated, reference=reference, examples=drawn, level="quick")
    assert [f.kind for f in report.findings] == ["sign"]


@settings(max_examples=5)
@given(args=strategies.like((X, W, B)), labels=strategies.integers((4,), 0, 2))
def test_inside_hypothesis(args, labels):
    verify.assert_gradients(fwd, bwd, *args, reference=reference, level="quick")
    assert labels.shape == (4,)
    assert set(labels) <= {0, 1, 2}
