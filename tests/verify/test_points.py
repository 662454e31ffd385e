"""Where the verifier looks: leaves of every floating dtype are drawn, moved and resized, and no others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_ref.verify import inputs, strategies
from jax_ref.verify.points import batches, climb, ladder

DTYPES = [jnp.bfloat16, jnp.float16, jnp.float8_e4m3fn, jnp.float8_e5m2, jnp.float32, jnp.float64]
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def example(dtype):
    """A leaf of a floating dtype beside labels, a mask and a key."""
    x = np.linspace(0.5, 2, 80).reshape(8, 10).astype(dtype)
    return x, np.arange(8), np.arange(8) > 1, jax.random.key(0)


def is_another(x, before):
    return x.shape == before.shape and np.any(np.asarray(x, np.float64) != np.asarray(before, np.float64))


def the_rest_is_the_same(args, before):
    one, other = ((*tree[1:3], jax.random.key_data(tree[3])) for tree in (args, before))
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@every_dtype
@pytest.mark.parametrize("rung", inputs.LADDER)
def test_a_leaf_is_drawn_anew(dtype, rung):
    before = example(dtype)
    args = inputs.redraw(before, rung, np.random.default_rng(0))
    assert args[0].dtype == np.float64
    assert is_another(args[0], before[0])
    assert the_rest_is_the_same(args, before)


@every_dtype
def test_a_leaf_is_moved_by_a_unit_in_the_last_place(dtype):
    before = example(dtype)
    args = inputs.nearby(before, np.random.default_rng(0))
    assert args[0].dtype == dtype
    assert is_another(args[0], before[0])
    assert the_rest_is_the_same(args, before)


@every_dtype
def test_a_leaf_of_equal_entries_is_spread(dtype):
    x = np.ones((4, 3), dtype)
    (spread,) = ladder.spread((x,), np.random.default_rng(0))
    assert spread.dtype == dtype
    assert is_another(spread, x)


@every_dtype
def test_a_leaf_climbs_the_ladder(dtype):
    before, output = example(dtype), jax.ShapeDtypeStruct((8, 10), dtype)
    rungs = tuple(ladder.LADDER)
    first, equal, *others = climb.climb(before, output, np.random.default_rng(0), rungs)
    assert first.args is equal.args is before
    assert len(np.unique(np.asarray(first.d_output, np.float64))) > 1
    assert len(np.unique(np.asarray(equal.d_output, np.float64))) == 1
    assert [point.name for point in others] == list(rungs)
    for point in others:
        assert point.args[0].dtype == point.d_output.dtype == dtype
        assert is_another(point.args[0], before[0])
        assert the_rest_is_the_same(point.args, before)


@every_dtype
def test_rows_of_another_batch_are_moved(dtype):
    x, labels = example(dtype)[:2]
    resized = batches.resized(lambda x, labels: x, (x, labels), np.random.default_rng(0))
    sizes = batches.sizes(len(x))
    assert [point.name for point in resized] == [f"a batch of {size}" for size in sizes]
    for point, size in zip(resized, sizes, strict=True):
        moved = point.args[0]
        assert moved.dtype == dtype
        assert is_another(moved, x[np.arange(size) % len(x)])


@every_dtype
def test_a_strategy_like_an_example_draws_its_leaves(dtype):
    before = example(dtype)
    drawn = strategies.drawn(strategies.like(before), 5)
    assert drawn
    for args in drawn:
        assert args[0].dtype == dtype
        assert is_another(args[0], before[0])
        assert the_rest_is_the_same(args, before)
