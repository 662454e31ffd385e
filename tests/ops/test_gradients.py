"""Every gradient of every op and model, driven by the table of cases and by the verifier."""

import jax.numpy as jnp
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from jax_ref import verify
from tests.ops.rows import FULL, NEW, REPEATS, ROWS, Row, params

DTYPES = (jnp.float64, jnp.float32, jnp.bfloat16)

OF_THE_TABLE = {"batches": "the table has an odd batch, a batch of one, and two axes"}
OF_ONE_SHAPE = {
    "transforms": "they are tried at the full examples",
    "reference": "it is tried at the full examples",
}

SEEDS = st.integers(0, 2**32 - 1)
"""One is drawn for each row, and ten with `-m slow`."""

AS_DRAWN = (Phase.explicit, Phase.generate)
"""A smaller seed is no simpler case: nothing is gained by a search for one."""

IN_TILES = {
    "ladder": "where one p is nearly 1, do . o leaves a rounding that autodiff's own difference does not"
}
DROPPED = {
    "ladder": "behind an offset, with features dropped, either side's rounding is the larger one by chance"
}


DEEP = {"convnet", "gpt"}
"""Of rounding on so long a way either side is the nearer one by chance: in narrow dtypes these have a test of
their own, over many draws."""


def dtypes(row: Row) -> tuple:
    """Those in which a row is checked; do . o of several tiles has the digits of o, in bfloat16 too few."""
    return DTYPES[:1] if row.case.name in DEEP else DTYPES[:2] if "block" in row.example.static else DTYPES


def left_out(row: Row) -> dict[str, str]:
    """What is not asked of a row."""
    if "block" in row.example.static:
        return IN_TILES
    return DROPPED if (row.case.name, row.example.kind) == ("gpt", "dropout") else {}


def finds_nothing(row: Row, seed: int, dtypes: tuple, skip: dict[str, str]) -> None:
    verify.assert_gradients(
        row.case.op,
        *row.example.draw(seed),
        reference=row.case.reference,
        seed=seed,
        dtypes=dtypes,
        skip=skip | left_out(row),
        kinks="autodiff",
        precision="everywhere",
        **row.example.static,
    )


@pytest.mark.parametrize("row", params(FULL))
@settings(max_examples=1, phases=AS_DRAWN)
@given(seed=SEEDS)
def test_in_every_dtype_and_transform(row, seed):
    finds_nothing(row, seed, dtypes(row), OF_THE_TABLE)


@pytest.mark.parametrize("row", params(NEW) + params(REPEATS, pytest.mark.slow))
@settings(max_examples=1, phases=AS_DRAWN)
@given(seed=SEEDS)
def test_in_float64(row, seed):
    finds_nothing(row, seed, DTYPES[:1], OF_THE_TABLE | OF_ONE_SHAPE)


@pytest.mark.slow
@pytest.mark.parametrize("row", params(ROWS))
@settings(max_examples=10, phases=AS_DRAWN)
@given(seed=SEEDS)
def test_in_every_dtype_and_transform_at_length(row, seed):
    finds_nothing(row, seed, dtypes(row), OF_THE_TABLE)
