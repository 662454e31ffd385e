"""A gradient test that cannot fail proves nothing: every planted mistake fails it."""

import pytest

from jax_ref.verify import inputs
from tests.cases import CASES, MODELS
from tests.mistakes import MISTAKES
from tests.proof import DTYPES, prove


def prove_everywhere(pair, case):
    """What `test_gradients` does with a case, at one draw of each rung; float64 first, to be quick."""
    for dtype in DTYPES:
        for example in case.examples:
            for rung in inputs.LADDER:
                prove(pair, case.reference, example, rung=rung, dtypes=(dtype,))


@pytest.mark.parametrize("name", MISTAKES)
def test_planted_mistake_fails_the_gradient_test(name):
    mistake = MISTAKES[name]
    with pytest.raises(AssertionError):
        prove_everywhere(mistake.pair, {**CASES, **MODELS}[mistake.case])
