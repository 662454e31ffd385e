"""Data parallelism: the gradient of all examples together; narrow wires and their feedback; bytes."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

import jax_ref
from manual_bp.models import mlp
from manual_bp.parallel import data
from tests.close import close
from tests.parallel.meshes import compiled, copies, mesh, on, sent

N = 4
STATIC: dict[str, Any] = {"activation": "tanh"}
PARAMS = mlp.init(jax.random.key(0), [5, 7, 3], dtype=jnp.float64)
RNG = np.random.default_rng(0)


def batch(examples):
    return jnp.asarray(RNG.normal(size=(examples, 5))), jnp.asarray(RNG.integers(0, 3, examples))


@pytest.mark.parametrize(("each", "check_vma"), [(1, True), pytest.param(3, False, marks=pytest.mark.slow)])
def test_the_mean_is_over_all_shards_examples(each, check_vma):
    examples = batch(each * N)

    def step(params, examples):
        return data.value_and_grad(mlp, params, examples, axis="d", **STATIC)

    found = on(mesh(d=N), step, (P(), P("d")), P(), check_vma=check_vma)(PARAMS, examples)
    expected = jax.value_and_grad(jax_ref.models.mlp.loss)(PARAMS, examples, **STATIC)
    close(found, expected, 1e-12)
    for leaf in jax.tree.leaves(found[1]):
        for copy in copies(leaf):
            np.testing.assert_array_equal(copy, copies(leaf)[0])


@pytest.mark.slow
def test_over_two_axes():
    examples = batch(2 * N)
    f = on(
        mesh(a=2, b=2),
        lambda params, x: data.value_and_grad(mlp, params, x, axis=("a", "b"), **STATIC),
        (P(), P(("a", "b"))),
        P(),
    )
    expected = jax.value_and_grad(jax_ref.models.mlp.loss)(PARAMS, examples, **STATIC)
    close(f(PARAMS, examples), expected, 1e-12)


class Weighted:
    """A model whose mean is over the examples of weight 1; it has none of weight 0."""

    @staticmethod
    def value_and_grad(params, batch, *, dcost=1.0):
        x, weights = batch
        total = jnp.maximum(jnp.sum(weights), 1)
        y = x @ params
        return jnp.sum(weights * y**2) / total, dcost * 2 * (weights * y) @ x / total


@pytest.mark.parametrize("counted", [(3, 1, 2, 3), (3, 0, 1, 0), (0, 0, 0, 0)])
def test_weights_of_shards_that_differ(counted):
    x, params = jnp.asarray(RNG.normal(size=(3 * N, 5))), jnp.asarray(RNG.normal(size=5))
    weights = jnp.concatenate([jnp.arange(3) < c for c in counted]).astype(jnp.float64)

    def step(params, examples):
        return data.value_and_grad(Weighted, params, examples, axis="d", weight=jnp.sum(examples[1]))

    found = on(mesh(d=N), step, (P(), P("d")), P())(params, (x, weights))

    def loss(params):
        return jnp.sum(weights * (x @ params) ** 2) / jnp.maximum(jnp.sum(weights), 1)

    close(found, jax.value_and_grad(loss)(params), 1e-12)


def tree(rng, dtype=np.float64):
    """Shares of a gradient: leaves of odd sizes, of far magnitudes."""
    leaves = {"a": rng.standard_t(3, (N, 7, 5)), "b": rng.normal(size=(N, 3)) / 100, "c": rng.normal(size=N)}
    return {name: jnp.asarray(leaf, dtype) for name, leaf in leaves.items()}


@functools.cache
def reducer(wire, is_fed_back):
    """The sum of shares, and the next feedback, compiled."""

    def local(shares, feedback):
        own = jax.tree.map(lambda x: x[0], shares)
        return data.all_reduce(own, axis="d", wire=wire, feedback=feedback)

    return on(mesh(d=N), local, (P("d"), P("d")), (P(), P("d")) if is_fed_back else P())


def reduced(wire, shares, feedback=None):
    """The sum of shares, and the next feedback."""
    return reducer(wire, feedback is not None)(shares, feedback)


def distance(found, shares):
    exact = jnp.concatenate([x.sum(0).ravel() for x in jax.tree.leaves(shares)])
    return float(jnp.linalg.norm(jnp.concatenate([x.ravel() for x in jax.tree.leaves(found)]) - exact)
                 / jnp.linalg.norm(exact))  # fmt: skip


@pytest.mark.parametrize(("wire", "error"), [("native", 1e-15), ("bfloat16", 2**-8), ("int8", 0.1)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_narrow_wire_is_off_by_its_rounding(wire, error, dtype):
    shares = tree(np.random.default_rng(1), dtype)
    found = reduced(wire, shares)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), found) == jax.tree.map(
        lambda x: (x.shape[1:], x.dtype), shares
    )
    allowed = max(error, 4 * np.finfo(dtype).eps)
    assert distance(found, shares) <= allowed
    if wire != "native":
        assert distance(found, shares) > error / 100  # it is rounded
    for leaf in jax.tree.leaves(found):
        for copy in copies(leaf):
            np.testing.assert_array_equal(copy, copies(leaf)[0])


@pytest.mark.parametrize("wire", [pytest.param("bfloat16", marks=pytest.mark.slow), "int8"])
def test_what_is_fed_back_is_not_lost(wire):
    shares = tree(np.random.default_rng(2))
    feedback = data.no_feedback(jax.tree.map(lambda x: x[0], shares), N)
    assert feedback.shape == (N, 40)  # 39 numbers, and a zero so that 4 divides them
    mean, errors = jax.tree.map(lambda x: jnp.zeros(x.shape[1:]), shares), []
    for step in range(1, 17):
        found, feedback = reduced(wire, shares, feedback)
        mean = jax.tree.map(lambda m, x, step=step: m + (x - m) / step, mean, found)
        errors.append(distance(mean, shares))
        # all that was ever sent and what is left add up to all that there was
        left = sum(jnp.sum(row) for row in feedback)
        there = step * sum(jnp.sum(x) for x in jax.tree.leaves(shares))
        assert np.isclose(step * sum(jnp.sum(x) for x in jax.tree.leaves(mean)) + left, there, rtol=1e-12)
    assert errors[15] < errors[0] / 8


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("wire", ["bfloat16", "int8"])
def test_what_is_not_finite_is_seen(wire, bad):
    shares = tree(np.random.default_rng(3))
    shares["a"] = shares["a"].at[2, 0, 0].set(bad)
    assert not np.isfinite(reduced(wire, shares)["a"][0, 0])


@pytest.mark.parametrize(
    ("wire", "kinds", "bytes_"),
    [
        ("native", {"all-reduce": 1}, 2 * 3 / 4 * 8192 * 4),
        ("bfloat16", {"all-to-all": 1, "all-gather": 1}, 2 * 3 / 4 * 8192 * 2),
        ("int8", {"all-to-all": 1, "all-gather": 1}, 2 * 3 / 4 * (8192 + 4 * 4)),
    ],
)
def test_bytes_on_the_wire(wire, kinds, bytes_):
    f = on(
        mesh(d=N),
        lambda x: data.all_reduce({"a": x[:4096], "b": x[4096:]}, axis="d", wire=wire),
        P("d"),
        P(),
    )
    found = sent(compiled(f, jnp.zeros(N * 8192, jnp.float32)))
    counts = {}
    for collective in found:
        counts[collective.kind] = counts.get(collective.kind, 0) + 1
    assert counts == kinds
    assert sum(c.bytes for c in found) == bytes_


def test_one_all_reduce_for_a_model_and_its_cost():
    def step(params, examples):
        return data.value_and_grad(mlp, params, examples, axis="d", **STATIC)

    (one,) = sent(compiled(on(mesh(d=N), step, (P(), P("d")), P()), PARAMS, batch(2 * N)))
    numbers = sum(leaf.size for leaf in jax.tree.leaves(PARAMS)) + 1  # the cost
    assert (one.kind, one.dtype, one.bytes) == ("all-reduce", "f64", 2 * 3 / 4 * 8 * numbers)
