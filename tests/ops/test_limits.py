"""Limits of the ops: examples that do not count, axes without entries, infinities, and JAX's NaN checker."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jax_ref
from jax_ref.verify import oracle
from jax_ref.verify.subject import of_op
from manual_bp import differentiable
from manual_bp.ops import (
    activations,
    attention,
    conv,
    embedding,
    huber,
    layer_norm,
    log_softmax,
    plain_attention,
    reversible,
    sigmoid_cross_entropy,
    softmax,
    softmax_cross_entropy,
    squared_error,
)
from tests.ops.rows import FULL, params

INF = jnp.inf
AT_FAULT = [-INF, INF, jnp.nan]


@pytest.mark.parametrize("bad", AT_FAULT)
@pytest.mark.parametrize("weights", [None, jnp.array([1.0, jnp.nan, 2.0])])
def test_an_ignored_example_counts_nothing_whatever_it_holds(bad, weights):
    x = jnp.array([[1.0, 2.0, 3.0], [bad, 0.0, 1.0], [0.0, 1.0, -1.0]])
    options = {"ignore_label": -1, "label_smoothing": 0.1, "z_loss": 0.1}
    loss, residuals = softmax_cross_entropy.fwd(x, jnp.array([0, -1, 2]), weights, **options)
    cotangents = softmax_cross_entropy.bwd(residuals, jnp.ones(3), **options)
    assert loss[1] == 0
    assert np.all(np.isfinite(loss))
    for d in cotangents if weights is not None else (cotangents,):
        assert np.all(d[1] == 0)
        assert np.all(np.isfinite(d))


@pytest.mark.parametrize("bad", AT_FAULT)
def test_an_example_whose_loss_is_not_used_has_no_gradient(bad):
    x = jnp.array([[bad, 2.0, 3.0], [0.5, 0.0, 1.0]])
    t, used = jnp.array([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]]), jnp.array([0.0, 1.0])
    for op, args in {
        softmax_cross_entropy: (x, t, jnp.array([2.0, 3.0])),
        sigmoid_cross_entropy: (x, t, jnp.array([1.0, 2.0, 3.0])),
        squared_error: (x, t),
        huber: (x, t),
    }.items():
        _, residuals = op.fwd(*args)
        cotangents = op.bwd(residuals, used)
        assert all(np.all(np.isfinite(d)) for d in cotangents), op.__name__
        assert np.all(cotangents[0][0] == 0)
        assert np.any(cotangents[0][1] != 0)


def test_yes_and_no_that_are_certain_and_right_cost_nothing():
    x, t = jnp.array([[-INF, INF]]), jnp.array([[0.0, 1.0]])
    for weight in (None, jnp.array([1.0, 3.0])):
        loss, residuals = sigmoid_cross_entropy.fwd(x, t, weight)
        dx, dt, *_ = sigmoid_cross_entropy.bwd(residuals, jnp.ones(1))
        assert loss == 0
        assert np.array_equal(dx, [[0, 0]])
        assert np.array_equal(dt, [[INF, -INF]])
    loss, _ = sigmoid_cross_entropy.fwd(-x, t)
    assert loss == INF


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize("value", [0.0, -3.0, 1e30])
def test_a_row_without_variance_is_the_bias(value, dtype):
    """Its gradient is that of a shift by the mean, times eps^(-1/2)."""
    params = layer_norm.Params(jnp.ones(4, dtype), jnp.arange(4, dtype=dtype))
    y, residuals = layer_norm.fwd(params, jnp.full((2, 4), value, dtype), eps=1 / 64)
    dparams, dx = layer_norm.bwd(params, residuals, jnp.array([[1, 0, 0, -1]] * 2, dtype), eps=1 / 64)
    assert np.array_equal(y, [[0, 1, 2, 3]] * 2)
    assert np.array_equal(dx, [[8, 0, 0, -8]] * 2)
    assert np.array_equal(jnp.stack(jax.tree.leaves(dparams)), [[0, 0, 0, 0], [2, 0, 0, -2]])


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0, 3.0])
def test_the_cotangent_of_targets_far_out(weight):
    x = jnp.array([[-INF, -800.0, -3.0, 0.0, 3.0, 800.0, INF]])
    t, w = jnp.full_like(x, 0.25), jnp.full(7, weight)
    dt = sigmoid_cross_entropy.bwd(sigmoid_cross_entropy.fwd(x, t, w)[1], jnp.ones(1))[1]
    finite = jnp.array([-800.0, -3.0, 0.0, 3.0, 800.0])
    expected = weight * np.logaddexp(0, -finite) - np.logaddexp(0, finite)
    assert np.allclose(dt[0, 1:-1], expected, rtol=1e-14)
    assert dt[0, 0] == (INF if weight else 0)
    assert dt[0, -1] == -INF


@pytest.mark.parametrize("op", [softmax, log_softmax])
@pytest.mark.parametrize("mask", [None, jnp.ones((3, 0), bool)])
@pytest.mark.parametrize(("shape", "axis"), [((3, 0), -1), ((0, 3), 0), ((0, 3), 1)])
def test_an_axis_without_entries(op, mask, shape, axis):
    mask = None if mask is None else mask.reshape(shape)
    y, residuals = op.fwd(jnp.zeros(shape), mask, axis=axis)
    assert y.shape == op.bwd(residuals, y, axis=axis).shape == shape


@pytest.mark.parametrize("op", [attention, plain_attention])
def test_positions_at_the_ends_of_int32(op):
    """The sum of a query's number and its offset, or less the window, is beyond them."""
    q, k, v = jax.random.normal(jax.random.key(0), (3, 1, 3, 1, 2))
    largest = 2**31 - 1
    for offset, window in ((largest, None), (-largest, largest)):
        options = {"mask": jnp.ones((3, 3), bool), "causal": True, "query_offset": offset, "window": window}
        expected = jax_ref.ops.attention.apply(q, k, v, **options)
        assert np.allclose(op.fwd(q, k, v, **options)[0], expected, rtol=1e-14, atol=0)


@pytest.mark.parametrize("dtype", [jnp.float32, pytest.param(jnp.bfloat16, marks=pytest.mark.slow)])
def test_scores_so_large_that_their_rounding_alone_would_overflow(dtype):
    q, k, v = jax.random.normal(jax.random.key(0), (3, 1, 9, 1, 3), dtype)
    largest = np.argmax(jnp.einsum("btd,bsd->bts", *(x[:, :, 0].astype(float) for x in (q, k))), -1)
    o, residuals = jax.jit(functools.partial(attention.fwd, scale=1e12))(q, k, v)
    assert np.array_equal(o, v[:, largest[0]])
    cotangents = attention.bwd(residuals, jnp.ones_like(o), scale=1e12)
    assert all(np.all(np.isfinite(d)) for d in cotangents)


@pytest.mark.parametrize("row", params([row for row in FULL if "activations" not in row.case.name]))
def test_ordinary_values_pass_the_nan_checker(row):
    """Outside of jit, where it sees every step."""
    args = jax.tree.map(jnp.asarray, row.example.args)
    pair = of_op(row.case.op, row.case.reference, **row.example.static)
    with jax.debug_nans(True):
        ones = jax.tree.map(lambda y: jnp.ones(y.shape), jax.eval_shape(pair.reference, *args))
        output, cotangents = pair.run(args, ones)
    assert not any(np.any(np.isnan(x)) for x in jax.tree.leaves((output, cotangents)))


def test_classes_ruled_out_pass_the_nan_checker():
    x = jnp.array([[1.0, 2.0, 3.0], [0.0, -INF, 2.0]])
    with jax.debug_nans(True):
        for targets in (jnp.array([0, 2]), jnp.array([[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])):
            loss, residuals = softmax_cross_entropy.fwd(x, targets)
            softmax_cross_entropy.bwd(residuals, jnp.ones(2))
            assert np.all(np.isfinite(loss))
        ignored = softmax_cross_entropy.fwd(x, jnp.array([0, -1]), ignore_label=-1)
        softmax_cross_entropy.bwd(ignored[1], jnp.ones(2), ignore_label=-1)
        with pytest.raises(FloatingPointError):
            softmax_cross_entropy.fwd(x, jnp.array([0, 3]))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_they_hold_in_narrow_dtypes(dtype):
    x, t = oracle.cast((np.array([[-INF, INF]]), np.array([[0.0, 1.0]])), dtype)
    loss, residuals = sigmoid_cross_entropy.fwd(jnp.asarray(x), jnp.asarray(t))
    assert loss == 0
    assert loss.dtype == sigmoid_cross_entropy.bwd(residuals, jnp.ones(1, dtype))[0].dtype == dtype


@pytest.mark.parametrize("dtype", [jnp.int8, jnp.uint8, jnp.int32, jnp.uint32, jnp.int64, jnp.uint64])
def test_an_id_that_is_no_row_is_none_whatever_its_bits(dtype):
    ends = jnp.iinfo(dtype)
    others = [n for n in (ends.min, ends.max, -1, 4, 2**32 + 1, -(2**32), 2**63) if ends.min <= n <= ends.max]
    ids = jnp.array([n for n in others if not 0 <= n < 4] + [1], dtype)
    table = embedding.Params(jnp.arange(12.0).reshape(4, 3))
    y, saved = embedding.fwd(table, ids)
    gradient = embedding.bwd(table, saved, jnp.ones_like(y))
    assert np.isnan(y[:-1]).all()
    assert np.array_equal(y[-1], table.table[1])
    assert np.array_equal(gradient.table[:, 0], [0, 1, 0, 0])


def test_a_table_without_rows_has_none():
    table = embedding.Params(jnp.ones((0, 3)))
    y, saved = embedding.fwd(table, jnp.array([0, 1]))
    assert np.isnan(y).all()
    assert y.shape == (2, 3)
    assert embedding.bwd(table, saved, y).table.shape == (0, 3)


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("at", ["w", "dy"])
def test_padding_meets_no_infinity(strides, at):
    """Depthwise: what lies between or beside the entries that a window meets is no factor."""
    x, w = jnp.ones((1, 5, 4, 2)), jnp.ones((3, 3, 1, 2))
    infinite = {"w": w.at[0, 0, 0, 0].set(jnp.inf)}.get(at, w)
    options = {"strides": strides, "groups": 2}

    def one_by_one(p, x):
        """Each channel by itself: in groups JAX multiplies the others by zeros."""
        channels = [(conv.Params(p.w[..., c : c + 1], None), x[..., c : c + 1]) for c in range(2)]
        return jnp.concatenate([jax_ref.ops.conv.apply(*c, strides=strides) for c in channels], -1)

    y, vjp = jax.vjp(jax.jit(one_by_one), conv.Params(infinite, None), x)
    dy = jnp.ones_like(y).at[0, 0, 0, 0].set(jnp.inf) if at == "dy" else jnp.ones_like(y)
    found, saved = conv.fwd(conv.Params(infinite, None), x, **options)
    for ours, theirs in zip(
        jax.tree.leaves((found, conv.bwd(conv.Params(infinite, None), saved, dy, **options))),
        jax.tree.leaves((y, vjp(dy))),
        strict=True,
    ):
        assert np.array_equal(ours, theirs)


def test_a_pair_without_params_is_coupled_by_none():
    x1, x2 = jnp.ones((3, 5)), jnp.ones((3, 5)) / 2
    options = {"f": activations.tanh, "g": activations.sigmoid}

    def both(function):
        return jax.grad(lambda x1, x2: sum(map(jnp.sum, function((None, None), x1, x2, **options))), (0, 1))(
            x1, x2
        )

    ours, theirs = both(differentiable(reversible)), both(jax_ref.ops.reversible.apply)
    np.testing.assert_allclose(ours, theirs, rtol=1e-13)


@pytest.mark.parametrize("op", [attention, plain_attention])
@pytest.mark.parametrize(("queries", "keys"), [(0, 3), (3, 0), (0, 0)])
def test_attention_of_no_queries_or_to_no_keys(op, queries, keys):
    q, k, bias = jnp.ones((2, queries, 4, 5)), jnp.ones((2, keys, 2, 5)), jnp.ones((4, queries, keys))
    options = {"causal": True, "block": 2} if op is attention else {"causal": True}
    o, saved = op.fwd(q, k, k, bias, **options)
    assert np.array_equal(o, np.zeros(q.shape))
    for found, like in zip(op.bwd(saved, o, **options), (q, k, k, bias), strict=True):
        assert np.array_equal(found, np.zeros(like.shape))
