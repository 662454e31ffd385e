"""Points that move several leaves together: opposite signs, and other integers."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_ref import verify
from jax_ref.verify.points import integers, signs
from tests.verify.layer import VALUES_ALONE, and_slow

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_each_pair_of_leaves_has_opposite_signs_somewhere(count):
    args = tuple(RNG.normal(size=(3, n + 1)).astype(np.float32) for n in range(count))
    points = [dict(enumerate(moved)) for _, moved in signs.moved((*args, np.arange(3)), RNG)]
    for one, other in itertools.combinations(range(count), 2):
        found = {(bool(np.all(p[one] > 0)), bool(np.all(p[other] < 0))) for p in points}
        assert found & {(True, True)} or (False, False) in found
    assert len(points) == 2 * (count - 1).bit_length()
    assert all(np.array_equal(p[count], np.arange(3)) for p in points)


def gated(q, k):
    return jax.nn.softplus(q * k)


def test_a_mistake_for_products_of_one_sign_is_found_from_positive_examples():
    def back(residuals, d):
        z = residuals[0] * residuals[1]
        slope = d * jnp.where(z < -1, 0, jax.nn.sigmoid(z))
        return slope * residuals[1], slope * residuals[0]

    q, k = np.array([100.1, 2.0]), np.array([100.3, 3.0])
    report = verify.check(lambda q, k: (gated(q, k), (q, k)), back, q, k, reference=gated, skip=VALUES_ALONE)
    assert {leaf.verdict for leaf in report.leaves} == {"wrong"}, str(report)
    assert "opposite signs" in report.findings[0].text


IDS, SIZES, OFFSETS = np.array([3, 0, 5, 1, 4]), np.array([2, 5, 1, 3]), np.array([0, 3, 4, 9, 11])
TABLE, ROWS = RNG.normal(size=(7, 2)), RNG.normal(size=(11, 2))


def moved(*args):
    return [(name, other[-1]) for _ in range(5) for name, other in integers.moved(args, RNG)]


def test_ids_are_repeated_and_distinct_sorted_and_not():
    points = moved(TABLE, IDS)
    assert {name for name, _ in points} == set(integers.IDS)
    for name, ids in points:
        assert ids.dtype == IDS.dtype
        assert ids.min() >= 0
        assert ids.max() <= IDS.max()
        if name.endswith("sorted"):
            assert np.all(np.diff(ids) >= 0)
        if name.startswith(("distinct", "repeated")):
            assert (len(set(ids)) == len(ids)) is name.startswith("distinct")
        if name.startswith("equal"):
            assert len(set(ids)) == 1
        if "ends" in name:
            assert set(ids) <= {IDS.min(), IDS.max()}
    assert any(np.any(np.diff(ids) < 0) for name, ids in points if name == "repeated integers")
    assert any(0 in ids for name, ids in points if name == "integers with zeros")


def test_sizes_keep_their_sum_and_offsets_their_order():
    sizes = moved(ROWS, SIZES)
    assert {name for name, _ in sizes} == {"integers with zeros", "integers at both ends"}
    assert all(values.sum() == 11 and values.min() >= 0 for _, values in sizes)
    assert any(0 in values for _, values in sizes)
    for _, values in moved(ROWS, OFFSETS):
        assert list(values[[0, -1]]) == [0, 11]
        assert np.all(np.diff(values) >= 0)


def test_labels_that_are_ignored_stay_what_they_are():
    labels = np.array([2, -100, 0, 1, -100, 2])
    for _, other in moved(RNG.normal(size=(6, 3)), labels):
        assert set(other) <= {-100, 0, 1, 2}


def lookup(table, ids):
    return table[ids]


def members(sizes, dtype):
    """Which rows are in which groups, as ones in a matrix."""
    ends = jnp.cumsum(sizes)
    rows = jnp.arange(len(ROWS))[:, None]
    return ((rows >= (ends - sizes)[None]) & (rows < ends[None])).astype(dtype)


def means(x, sizes):
    """The mean of each group of rows; of an empty one zero."""
    return members(sizes, x.dtype).T @ x / jnp.maximum(sizes, 1).astype(x.dtype)[:, None]


def means_back(sizes, d, at_least):
    over = jnp.maximum(sizes, at_least).astype(d.dtype)[:, None]
    return members(sizes, d.dtype) @ (d / over), None


def scattered(how):
    def back(ids, d):
        zeros = jnp.zeros(TABLE.shape, d.dtype)
        return getattr(zeros.at[ids], how)(d), None

    return back


OF_INTEGERS = {
    "lookup": (lookup, lambda table, ids: ids, scattered("add"), (TABLE, IDS), None),
    "overwritten": (lookup, lambda table, ids: ids, scattered("set"), (TABLE, IDS), "repeated integers"),
    "means": (
        means, lambda x, sizes: sizes, lambda sizes, d: means_back(sizes, d, 1), (ROWS, SIZES), None,
    ),
    "an empty group": (
        means, lambda x, sizes: sizes, lambda sizes, d: means_back(sizes, d, 0), (ROWS, SIZES),
        "integers with zeros",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_INTEGERS)
@pytest.mark.parametrize("dtype", and_slow("bfloat16", "float64"))
def test_a_mistake_for_some_integers_is_found(name, dtype):
    function, residuals, back, args, where = OF_INTEGERS[name]
    pair = lambda *args: (function(*args), residuals(*args))  # noqa: E731
    asked = {"reference": function, "skip": VALUES_ALONE}
    report = verify.check(pair, back, *verify.oracle.cast(args, dtype), **asked)
    assert report.ok is (where is None), str(report)
    if where:
        assert where in report.findings[0].text
        asked["skip"] = VALUES_ALONE | {"integers": "they are another's care"}
        assert verify.check(pair, back, *verify.oracle.cast(args, dtype), **asked).ok


def test_integers_that_the_pair_does_not_take_are_not_held_against_it():
    order = np.array([2, 0, 3, 1])
    inverse = lambda order, d: (d[jnp.argsort(order)], None)  # noqa: E731

    def by_inverse(x, order):
        return jnp.zeros_like(x).at[jnp.argsort(order)].set(x)

    pair = lambda x, order: (by_inverse(x, order), order)  # noqa: E731
    x = RNG.normal(size=(4, 2))
    report = verify.check(pair, inverse, x, order, reference=lambda x, order: x[order], skip=VALUES_ALONE)
    assert report.ok, str(report)
    assert any("which may be none that it takes" in note for note in report.notes)
