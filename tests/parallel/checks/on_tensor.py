"""Tensor parallelism: products, tables and losses in parts, on meshes of one and two axes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

import jax_ref
from manual_bp.ops import activations, dense, embedding
from manual_bp.parallel import data, tensor
from tests.close import close
from tests.parallel.meshes import compiled, copies, mesh, on, sent

RNG = np.random.default_rng(0)
I, H, O = 5, 12, 3
UP = dense.Params(jnp.asarray(RNG.normal(size=(I, H))), jnp.asarray(RNG.normal(size=H)))
DOWN = dense.Params(jnp.asarray(RNG.normal(size=(H, O))), jnp.asarray(RNG.normal(size=O)))


def perceptron(params, x, dy, *, axis):
    """A column and a row: y, and the cotangents of both params and of x."""
    up, down = params
    z, res_up = tensor.column.fwd(up, x, axis=axis)
    a, res_a = activations.tanh.fwd(z)
    y, res_down = tensor.row.fwd(down, a, axis=axis)
    d_down, da = tensor.row.bwd(down, res_down, dy, axis=axis)
    d_up, dx = tensor.column.bwd(up, res_up, activations.tanh.bwd(res_a, da), axis=axis)
    return y, (d_up, d_down), dx


def plain(params, x):
    up, down = params
    return jax_ref.ops.dense.apply(down, jnp.tanh(jax_ref.ops.dense.apply(up, x)))


def oracle(params, x, dy):
    y, vjp = jax.vjp(plain, params, x)
    return y, *vjp(dy)


def specs(params, size):
    up, down = params
    return (
        tensor.specs("column", up, axis="m", size=size),
        tensor.specs("row", down, axis="m", size=size),
    )


@pytest.mark.parametrize(("n", "check_vma", "bias"), [(1, True, True), (3, True, False), (4, False, True)])
def test_a_column_and_a_row_are_the_two_products(n, check_vma, bias):
    params = (UP, DOWN) if bias else (UP._replace(b=None), DOWN._replace(b=None))
    x, dy = jnp.asarray(RNG.normal(size=(7, I))), jnp.asarray(RNG.normal(size=(7, O)))
    of = specs(params, n)
    f = on(
        mesh(m=n),
        lambda *args: perceptron(*args, axis="m"),
        (of, P(), P()),
        (P(), of, P()),
        check_vma=check_vma,
    )
    found = f(params, x, dy)
    close(found, oracle(params, x, dy), 1e-12)
    for whole in (found[0], found[2]):
        for copy in copies(whole):
            np.testing.assert_array_equal(copy, copies(whole)[0])


@pytest.mark.slow
def test_without_an_axis_it_is_one_device():
    x, dy = jnp.asarray(RNG.normal(size=(7, I))), jnp.asarray(RNG.normal(size=(7, O)))
    close(perceptron((UP, DOWN), x, dy, axis=None), oracle((UP, DOWN), x, dy), 1e-12)


def test_beside_data_parallelism():
    x, dy = jnp.asarray(RNG.normal(size=(6, I))), jnp.asarray(RNG.normal(size=(6, O)))
    of = specs((UP, DOWN), 2)

    def step(params, x, dy):
        y, d_params, dx = perceptron(params, x, dy, axis="m")
        return y, data.all_reduce(d_params, axis="d"), dx

    f = on(mesh(d=2, m=2), step, (of, P("d"), P("d")), (P("d"), of, P("d")))
    close(f((UP, DOWN), x, dy), oracle((UP, DOWN), x, dy), 1e-12)


def test_one_sum_each_way():
    x, dy = jnp.zeros((7, I)), jnp.zeros((7, O))
    of = specs((UP, DOWN), 4)
    f = on(mesh(m=4), lambda *args: perceptron(*args, axis="m"), (of, P(), P()), (P(), of, P()))
    found = sent(compiled(f, (UP, DOWN), x, dy))
    # XLA joins sums that do not wait for one another, as y and dx do not here
    assert {c.kind for c in found} == {"all-reduce"}
    assert sum(c.bytes for c in found) == 2 * 3 / 4 * 8 * (7 * O + 7 * I)


@pytest.mark.parametrize("n", [1, 3, 4])
def test_rows_of_a_table(n):
    params = embedding.Params(jnp.asarray(RNG.normal(size=(12, 5))))
    ids = jnp.asarray(RNG.integers(0, 12, (2, 9))).at[0, :4].set(jnp.array([0, 11, 3, 3]))
    dy = jnp.asarray(RNG.normal(size=(2, 9, 5)))
    of = tensor.specs("embedding", params, axis="m", size=n)

    def both(params, ids, dy):
        y, res = tensor.embedding.fwd(params, ids, axis="m")
        return y, tensor.embedding.bwd(params, res, dy, axis="m")

    y, vjp = jax.vjp(lambda p: jax_ref.ops.embedding.apply(p, ids), params)
    close(on(mesh(m=n), both, (of, P(), P()), (P(), of))(params, ids, dy), (y, *vjp(dy)), 1e-12)


@pytest.mark.parametrize("outside", [-1, 12, -12, 2**31 - 1])
def test_an_id_of_no_row_is_nan_and_its_cotangent_goes_nowhere(outside):
    params = embedding.Params(jnp.ones((12, 5)))
    of = tensor.specs("embedding", params, axis="m", size=4)

    def both(params, ids):
        y, res = tensor.embedding.fwd(params, ids, axis="m")
        return y, tensor.embedding.bwd(params, res, jnp.ones_like(y), axis="m")

    y, d = on(mesh(m=4), both, (of, P()), (P(), of))(params, jnp.array([outside, 2], jnp.int32))
    assert np.isnan(y[0]).all()
    np.testing.assert_array_equal(d.table, jnp.zeros((12, 5)).at[2].set(1))


@pytest.mark.parametrize(("n", "scale"), [(4, 1e3), pytest.param(3, 1, marks=pytest.mark.slow)])
def test_classes_of_a_loss(n, scale):
    logits = jnp.asarray(RNG.normal(size=(2, 5, 12)) * scale)
    labels = jnp.asarray(RNG.integers(0, 12, (2, 5))).at[0, :3].set(jnp.array([0, 11, -100]))
    dloss = jnp.asarray(RNG.normal(size=(2, 5)))
    static = {"ignore_label": -100}

    def both(logits, labels, dloss):
        loss, res = tensor.softmax_cross_entropy.fwd(logits, labels, axis="m", **static)
        return loss, tensor.softmax_cross_entropy.bwd(res, dloss, axis="m", **static)

    reference = jax_ref.ops.softmax_cross_entropy.apply
    loss, vjp = jax.vjp(lambda x: reference(x, labels, **static), logits)
    split = P(None, None, "m")
    f = compiled(on(mesh(m=n), both, (split, P(), P()), (P(), split)), logits, labels, dloss)
    close(f(logits, labels, dloss), (loss, *vjp(dloss)), 1e-12)
    assert [c.kind for c in sent(f)] == ["all-reduce"] * 2


def test_a_label_of_no_class_is_nan():
    def both(logits, labels):
        loss, res = tensor.softmax_cross_entropy.fwd(logits, labels, axis="m")
        return loss, tensor.softmax_cross_entropy.bwd(res, jnp.ones_like(loss), axis="m")

    loss, d = on(mesh(m=4), both, (P(None, "m"), P()), (P(), P(None, "m")))(
        jnp.ones((2, 8)), jnp.array([8, -1])
    )
    assert np.isnan(loss).all()
    assert not d.any()


@pytest.mark.parametrize(("dtype", "classes"), [(jnp.uint8, 256), (jnp.int8, 128), (jnp.int8, 200)])
def test_ids_and_labels_of_a_dtype_that_does_not_hold_their_number(dtype, classes):
    labels = jnp.array([0, 7, jnp.iinfo(dtype).max], dtype)
    logits, table = jnp.ones((3, classes)), embedding.Params(jnp.ones((classes, 2)))
    specs = P(None, "model")

    def both(logits, table):
        loss, saved = tensor.softmax_cross_entropy.fwd(logits, labels, axis="model")
        rows, _ = tensor.embedding.fwd(embedding.Params(table), labels, axis="model")
        return loss, tensor.softmax_cross_entropy.bwd(saved, jnp.ones(3), axis="model"), rows

    split = jax.shard_map(
        both, mesh=mesh(model=2), in_specs=(specs, P("model")), out_specs=(P(), specs, P()), check_vma=False
    )
    loss, dlogits, rows = jax.jit(split)(logits, table.table)
    np.testing.assert_allclose(loss, np.log(classes), rtol=1e-14)
    np.testing.assert_allclose(dlogits, 1 / classes - np.eye(classes)[np.asarray(labels)], rtol=1e-12)
    assert np.array_equal(rows, np.ones((3, 2)))
