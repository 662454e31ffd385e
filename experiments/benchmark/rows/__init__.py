"""The rows of the benchmark: for each op and model the hand-written function and its opponents.

In a row of an op they all map `(args, d_output)` to `(output, cotangents)`, in a row of a model
`(params, batches)` to `(params, losses)`. A family is a module whose `ROWS` are names and what makes
their rows from a `Draw`.
"""

from collections.abc import Callable
from functools import partial

from experiments.benchmark.rows import (
    attention,
    elementwise,
    gpt,
    images,
    linear,
    losses,
    models,
    norms,
    recurrent,
    reversible,
    softmax,
    tables,
)
from experiments.benchmark.rows.row import Draw, Row

FAMILIES = (
    elementwise,
    softmax,
    norms,
    losses,
    linear,
    images,
    tables,
    recurrent,
    reversible,
    attention,
    models,
    gpt,
)


def rows(scale: float = 1.0) -> dict[str, Callable[[], Row]]:
    """Every row's name, and what makes it, with each dimension multiplied by `scale`."""
    draw = Draw(scale)
    return {name: partial(make, draw) for family in FAMILIES for name, make in family.ROWS.items()}
