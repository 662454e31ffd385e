"""`in_place.scan` is `lax.scan`, and writes where it read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from manual_bp import in_place


def step(carry, row, x):
    """Reads its row for the new row and, along another way, for the carry."""
    new = jnp.tanh(row * carry + x)
    return carry * row + x, new, carry - row


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("steps", [0, 1, 5])
def test_it_is_a_scan(steps, reverse):
    rng = np.random.default_rng(steps)
    carry, rows, xs = (jnp.asarray(rng.standard_normal(shape)) for shape in [(3,), (steps, 3), (steps, 3)])

    def plainly(carry, inputs):
        carry, row, y = step(carry, *inputs)
        return carry, (row, y)

    last, (new, ys) = jax.lax.scan(plainly, carry, (rows, xs), reverse=reverse)
    found = jax.jit(in_place.scan, static_argnums=0, static_argnames="reverse")(
        step, carry, rows, xs, reverse=reverse
    )
    for got, expected in zip(found, (last, new, ys), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-15)


@pytest.mark.parametrize("reverse", [False, True])
def test_the_new_rows_lie_where_the_old_ones_did(reverse):
    carry, rows = jnp.zeros(1000), jnp.zeros((100, 1000))

    def run(carry, rows):
        last, new, _ = in_place.scan(lambda c, r, x: (*step(c, r, 1.0)[:2], x), carry, rows, reverse=reverse)
        return last, new

    memory = jax.jit(run, donate_argnums=1).lower(carry, rows).compile().memory_analysis()
    assert memory is not None
    assert memory.temp_size_in_bytes < rows.nbytes / 2
