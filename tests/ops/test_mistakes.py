"""Mutation test of the gradient test: each planted mistake fails it, in what is checked by default."""

import jax.numpy as jnp
import pytest

from jax_ref.verify import oracle
from jax_ref.verify.options import Options
from jax_ref.verify.runner import run_checks
from jax_ref.verify.subject import of_op
from tests.cases import CASES, MODELS
from tests.ops.mistakes import MISTAKES
from tests.ops.rows import FULL, NEW
from tests.ops.test_gradients import OF_ONE_SHAPE, OF_THE_TABLE

ASKED = Options(skip=OF_THE_TABLE | OF_ONE_SHAPE, kinks="autodiff", precision="everywhere")
"""As in the gradient test, but what the mistake is called is not asked for."""


AT_ONCE = ASKED._replace(skip={**ASKED.skip, "ladder": "most mistakes are seen at the example"})


def fails(mistake, case, example, dtype, asked):
    pair = of_op(mistake.pair, case.reference, **example.static)
    run = run_checks(pair, [oracle.cast(example.args, dtype)], asked)
    return bool(run.findings) or run.wrong()


ROWS = [
    pytest.param(m, id=f"{m.case}-{name}", marks=[pytest.mark.slow] * m.slow) for name, m in MISTAKES.items()
]


@pytest.mark.parametrize("mistake", ROWS)
def test_planted_mistake_fails_the_gradient_test(mistake):
    case = (CASES | MODELS)[mistake.case]
    tries = [(row.example, jnp.float64) for row in FULL + NEW if row.case is case]
    tries += [(row.example, jnp.bfloat16) for row in FULL if row.case is case]
    assert any(fails(mistake, case, *each, asked) for asked in (AT_ONCE, ASKED) for each in tries)
