"""A gradient test that cannot fail proves nothing: every planted mistake fails it."""

import jax.numpy as jnp
import pytest

from jax_ref import verify
from tests.cases import CASES, MODELS
from tests.mistakes import MISTAKES
from tests.test_gradients import OF_ONE_SHAPE, OF_THE_TABLE, draw

SKIP = OF_THE_TABLE | OF_ONE_SHAPE | {"shrinking": "that it fails is all that is asked"}


@pytest.mark.parametrize("name", MISTAKES)
def test_planted_mistake_fails_the_gradient_test(name):
    mistake = MISTAKES[name]
    case = {**CASES, **MODELS}[mistake.case]
    for dtype in (jnp.float64, jnp.bfloat16):
        for example in case.examples:
            report = verify.check_op(
                mistake.pair,
                *draw(example),
                reference=case.reference,
                dtypes=[dtype],
                skip=SKIP,
                kinks="autodiff",
                **example.static,
            )
            if not report.ok:
                return
    pytest.fail("it was not found")
