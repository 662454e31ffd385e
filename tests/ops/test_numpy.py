"""Arguments and options may come from NumPy: an `.npz` holds such params, a sweep such options."""

from typing import Any

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from jax_ref.verify import trees
from tests.ops.rows import FULL, NEW, Row, params
from tests.ops.test_use import with_params


@pytest.fixture(autouse=True)
def _without_runtime_types():
    """The annotations say JAX's arrays, which is what NumPy's become."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def cotangents(row: Row, args: tuple[Any, ...], static: dict[str, Any]) -> Any:
    """Shapes and dtypes of the output and of the cotangents; nothing is computed."""
    op = row.case.op

    def run() -> Any:
        output, residuals = op.fwd(*args, **static)
        d_output = jax.tree.map(lambda y: np.zeros(y.shape, y.dtype), output)
        return output, op.bwd(*with_params(op, args), residuals, d_output, **static)

    return jax.eval_shape(run)


def narrow(row: Row, made: Any) -> tuple[Any, ...]:
    """A row's arguments but for keys, those of floating point in float32."""

    def leaf(x: Any) -> Any:
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return x
        return made(x.astype("f4") if trees.is_floating(x) else x)

    return jax.tree.map(leaf, row.example.args)


@pytest.mark.parametrize("row", params(FULL))
def test_arrays(row):
    static = row.example.static
    assert cotangents(row, narrow(row, np.asarray), static) == cotangents(
        row, narrow(row, jnp.asarray), static
    )


def numbers_of_numpy(static: dict[str, Any]) -> dict[str, Any]:
    """The options that are numbers."""
    numbers = {n: v for n, v in static.items() if isinstance(v, int | float) and not isinstance(v, bool)}
    return {name: np.asarray(value)[()] for name, value in numbers.items()}


@pytest.mark.parametrize("row", params([r for r in FULL + NEW if numbers_of_numpy(r.example.static)]))
def test_options(row):
    args, static = narrow(row, jnp.asarray), row.example.static
    assert cotangents(row, args, static | numbers_of_numpy(static)) == cotangents(row, args, static)
