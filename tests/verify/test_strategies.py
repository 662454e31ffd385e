"""Hypothesis strategies: examples for the verifier, and the verifier inside a property."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
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


PRINTED = {
    "floats": strategies.floats((4, 3), np.float32),
    "bfloat16": strategies.floats((2,), jnp.bfloat16),
    "integers": strategies.integers((4,), 0, 2),
    "like": strategies.like(
        (X, {"ids": np.arange(3), "mask": np.array([True, False])}, W.astype(np.float32))
    ),
    "together": st.tuples(strategies.floats((2,)), strategies.integers((), -1, 1, np.int8)),
}


@pytest.mark.parametrize("name", PRINTED)
def test_a_strategy_prints_as_what_makes_it(name):
    pasted = eval(repr(PRINTED[name]), {**vars(strategies), "jnp": jnp, "tuples": st.tuples})
    one, other = (strategies.drawn(strategy, 3) for strategy in (PRINTED[name], pasted))
    assert len(one) == 3
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)


def test_a_failing_example_prints_as_a_call():
    @settings(derandomize=True, database=None)
    @given(x=strategies.floats((2,)), labels=strategies.integers((3,), 0, 5))
    def fails(x, labels):
        assert x.sum() > np.inf

    with pytest.raises(AssertionError) as caught:
        fails()
    text = " ".join("\n".join(caught.value.__notes__).split())
    call = re.search(r"x=(numbers\( ?'ordinary',.*? \(2,\), 'float32',? ?\))", text)
    assert call, text
    drawn = eval(re.sub(r"#.*?(?=[0-9(])", "", call[1]), dict(vars(strategies)))
    assert drawn.shape == (2,)
    assert drawn.dtype == np.float32


@settings(max_examples=5)
@given(args=strategies.like((X, W, B)), labels=strategies.integers((4,), 0, 2))
def test_inside_hypothesis(args, labels):
    verify.assert_gradients(fwd, bwd, *args, reference=reference, level="quick")
    assert labels.shape == (4,)
    assert set(labels) <= {0, 1, 2}
