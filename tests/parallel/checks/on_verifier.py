"""check_sharded: ten mistakes of sharded gradients, each called what it is, and what is right passes."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import PartitionSpec as P

import jax_ref
from jax_ref import verify
from manual_bp.models import mlp
from manual_bp.ops import dense, dropout, rms_norm
from manual_bp.parallel import data, sequence, tensor
from tests.parallel.meshes import mesh

RNG = np.random.default_rng(0)


def drawn(*shape):
    return jnp.asarray(RNG.normal(size=shape))


X = drawn(3, 5)
UP = dense.Params(drawn(5, 8), drawn(8))
DOWN = dense.Params(drawn(8, 5), drawn(5))
COLUMN = tensor.specs("column", UP, axis="model", size=4)
ROW = tensor.specs("row", DOWN, axis="model", size=4)


def column(bwd=None, **options):
    """The check of a column, with another backward."""
    pair = SimpleNamespace(fwd=tensor.column.fwd, bwd=bwd or tensor.column.bwd)
    return verify.check_sharded(
        pair, UP, X, mesh=mesh(model=4), in_specs=(COLUMN, P()), out_specs=P(None, "model"),
        reference=jax_ref.ops.dense.apply, axis="model", **options,
    )  # fmt: skip


def column_summed(by):
    def bwd(params, res, dy, *, axis):
        d_params, dx = dense.bwd(params, res, dy)
        return d_params, by(dx)

    return bwd


def said(report):
    """The sentence about each leaf, without where it shows."""
    assert not report.ok
    assert {f.kind for f in report.findings} <= set(verify.KINDS)
    return {f.path: (f.kind, f.text.partition(" (at")[0]) for f in report.findings}


def test_a_sum_is_forgotten():
    (path, (kind, text)), = said(column(column_summed(lambda dx: dx))).items()  # fmt: skip
    assert (path, kind) == ("x", "reduction")
    assert text.startswith("the shares are not summed over mesh axis 'model'")
    assert text.endswith("the share of shard 0 alone")


def test_summed_twice():
    found = said(column(column_summed(lambda dx: lax.psum(lax.psum(dx, "model"), "model"))))
    assert found["x"][0] == "factor"
    assert found["x"][1].startswith("it is 4 = the size of mesh axis 'model' times the right one")


def test_a_mean_for_a_sum():
    found = said(column(column_summed(lambda dx: lax.pmean(dx, "model"))))
    assert found["x"][0] == "factor"
    assert found["x"][1].startswith("it is 1/4 of the right one, with 4 = the size of mesh axis 'model'")


PARAMS = mlp.init(jax.random.key(0), [5, 3], dtype=jnp.float64)
BATCH = (drawn(8, 5), RNG.integers(0, 3, 8))


def model(step, **options):
    return verify.check_sharded(
        step, PARAMS, BATCH, mesh=mesh(data=4), in_specs=(P(), P("data")), out_specs=P(),
        reference=jax_ref.models.mlp.loss, **options,
    )  # fmt: skip


def test_the_mean_of_a_shard():
    def step(params, batch):
        cost, grads = mlp.value_and_grad(params, batch)
        return lax.pmean(cost, "data"), data.all_reduce(grads, axis="data")

    found = said(model(step))
    assert found.keys() == {"params.layers[0].w", "params.layers[0].b"}
    for kind, text in found.values():
        assert kind == "factor"
        assert text.startswith("it is 4 = the size of mesh axis 'data' times the right one")
        assert "a mean's 1/B that of one shard" in text


def norm(bwd):
    pair = SimpleNamespace(fwd=rms_norm.fwd, bwd=bwd)
    return verify.check_sharded(
        pair, rms_norm.Params(drawn(5)), drawn(3, 8, 5), mesh=mesh(time=4),
        in_specs=(P(), P(None, "time")), out_specs=P(None, "time"), reference=jax_ref.ops.rms_norm.apply,
    )  # fmt: skip


def test_the_weight_of_a_norm_under_a_split_of_time():
    found = said(norm(rms_norm.bwd))
    assert found.keys() == {"params.g"}
    kind, text = found["params.g"]
    assert kind == "reduction"
    assert text.startswith("the shares are not summed over mesh axis 'time'")

    def right(params, res, dy):
        d_params, dx = rms_norm.bwd(params, res, dy)
        return lax.psum(d_params, "time"), dx

    assert norm(right).ok


def row(pair):
    return verify.check_sharded(
        pair, DOWN, drawn(3, 8), mesh=mesh(model=4), in_specs=(ROW, P(None, "model")),
        out_specs=P(), reference=jax_ref.ops.dense.apply, axis="model",
    )  # fmt: skip


def test_a_bias_on_each_shard():
    def fwd(params, x, *, axis):
        y, res = dense.fwd(params, x)
        return lax.psum(y, axis), res

    found = said(row(SimpleNamespace(fwd=fwd, bwd=tensor.row.bwd)))
    text = "params.b is added on each of the 4 shards of mesh axis 'model', in place of once"
    assert found == {"output": ("forward", text)}
    assert row(tensor.row).ok


TIME = P(None, "time")
QKV = [drawn(2, 8, 2, 3) for _ in range(3)]


def attended(q, k, v, first):
    """Causal attention to the keys of all shards, of queries from a place on."""
    k, v = (lax.all_gather(x, "time", axis=1, tiled=True) for x in (k, v))
    scores = jnp.einsum("bthd,bshd->bhts", q, k) / 3**0.5
    t, s = jnp.arange(q.shape[1]) + first, jnp.arange(k.shape[1])
    p = jax.nn.softmax(jnp.where((s[None] <= t[:, None])[None, None], scores, -jnp.inf), -1)
    return jnp.einsum("bhts,bshd->bthd", p, v)


def gathered(first):
    """Anybody's function, with JAX's own derivative."""

    def fwd(q, k, v):
        return attended(q, k, v, first(q)), (q, k, v)

    def bwd(res, do):
        return jax.vjp(lambda q, k, v: attended(q, k, v, first(q)), *res)[1](do)

    return SimpleNamespace(fwd=fwd, bwd=bwd)


def attention(pair, **static):
    return verify.check_sharded(
        pair, *QKV, mesh=mesh(time=4), in_specs=(TIME,) * 3, out_specs=TIME,
        reference=lambda q, k, v: jax_ref.ops.attention.apply(q, k, v, causal=True), **static,
    )  # fmt: skip


def test_a_causal_mask_with_the_offset_of_a_shard():
    found = said(attention(gathered(lambda q: 0)))
    for path in ("output", "q"):
        assert "right on shard 0 of mesh axis 'time' and on no other" in found[path][1]
        assert "a causal mask, counted from 0 on each shard?" in found[path][1]
    assert attention(gathered(lambda q: q.shape[1] * lax.axis_index("time"))).ok


def test_cotangents_that_are_not_brought_home():
    def bwd(res, do, **static):
        dq, *d_kv = sequence.ring_attention.bwd(res, do, **static)
        back = [(s, (s - 1) % 4) for s in range(4)]
        return dq, *(lax.ppermute(d, "time", back) for d in d_kv)

    pair = SimpleNamespace(fwd=sequence.ring_attention.fwd, bwd=bwd)
    found = said(attention(pair, axis="time", causal=True))
    assert found.keys() == {"k", "v"}
    for kind, text in found.values():
        assert kind == "shifted"
        assert "the part of the one 1 behind it on mesh axis 'time': the parts are not brought home" in text


def squares(of_whole):
    """The norm of a tree of which one leaf is split, and one whole on all devices."""

    def fwd(tree):
        split, whole = (jnp.sum(jnp.square(tree[name])) for name in ("split", "whole"))
        total = jnp.sqrt(lax.psum(split + of_whole(whole), "model"))
        return total, (tree, total)

    def bwd(res, d):
        tree, total = res
        return jax.tree.map(lambda x: x * d / total, tree)

    specs = {"split": P("model"), "whole": P()}
    tree = {"split": drawn(8), "whole": drawn(3)}
    return verify.check_sharded(
        SimpleNamespace(fwd=fwd, bwd=bwd), tree, mesh=mesh(model=4), in_specs=(specs,), out_specs=P(),
        reference=lambda tree: jnp.sqrt(sum(jnp.sum(jnp.square(x)) for x in tree.values())),
    )  # fmt: skip


def test_a_leaf_that_is_counted_on_each_shard_in_a_norm():
    found = said(squares(lambda whole: whole))
    assert found["output"] == (
        "forward",
        "tree['whole'] counts, as in a sum of squares, on each of the 4 shards of mesh axis 'model', in "
        "place of once",
    )
    assert squares(lambda whole: whole / 4).ok


def noise(key_of):
    """Dropout of what is the same on all shards of a model."""
    key = jax.random.key(0)

    def fwd(x):
        y, res = dropout.fwd(x, key_of(key), rate=0.5)
        return y, res

    def bwd(res, dy):
        return dropout.bwd(res, dy, rate=0.5)

    return verify.check_sharded(
        SimpleNamespace(fwd=fwd, bwd=bwd), X, mesh=mesh(model=4), in_specs=(P(),), out_specs=P(),
        reference=lambda x: jax_ref.ops.dropout.apply(x, key, rate=0.5),
    )  # fmt: skip


def test_noise_that_is_drawn_on_each_shard():
    found = said(noise(lambda key: jax.random.fold_in(key, lax.axis_index("model"))))
    text = "it should be the same on all shards of mesh axis 'model', and each has another"
    assert found["output"] == ("forward", f"{text}: is something drawn on each of them, as noise?")
    assert noise(lambda key: key).ok


def test_the_sum_of_jax_itself_and_another():
    """jax.grad inside of shard_map sums with check_vma, and does not without."""

    def step(params, batch):
        cost, grads = jax.value_and_grad(lambda p: jax_ref.models.mlp.loss(p, batch) / 4)(params)
        return lax.psum(cost, "data"), lax.psum(grads, "data")

    report = model(step)
    for kind, text in said(report).values():
        assert kind == "factor"
        assert text.startswith("it is 4 = the size of mesh axis 'data' times the right one")
    (note,) = report.notes
    assert note.startswith("with check_vma=False it is right")
    assert model(step, check_vma=False).ok
    assert "right" in str(report)


@pytest.mark.parametrize("check_vma", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_what_is_right(check_vma):
    assert column(check_vma=check_vma).ok

    def step(params, batch):
        return data.value_and_grad(mlp, params, batch, axis="data")

    report = model(step, check_vma=check_vma)
    assert report.ok
    assert report.tried.startswith("float64, on a mesh of data 4")
    assert [leaf.path for leaf in report.leaves] == ["output", "params.layers[0].w", "params.layers[0].b"]
    assert attention(sequence.ring_attention, axis="time", causal=True, check_vma=check_vma).ok


def test_what_is_no_use():
    with pytest.raises(TypeError, match="check_sharded: op was 3; expected fwd and bwd, or a function"):
        verify.check_sharded(3, X, mesh=mesh(a=4), in_specs=P(), out_specs=P(), reference=jnp.sin)
    with pytest.raises(ValueError, match=r"x has shape \(3, 5\) and spec .*; expected 5 to divide by 4"):
        verify.check_sharded(
            tensor.column, UP, X, mesh=mesh(a=4), in_specs=(P(), P(None, "a")), out_specs=P(),
            reference=jax_ref.ops.dense.apply, axis="a",
        )  # fmt: skip
    report = column(bwd=lambda params, res, dy, *, axis: 1 / 0)
    assert [f.kind for f in report.findings] == ["raises"]
    assert "ZeroDivisionError" in report.findings[0].text
    report = column(bwd=lambda params, res, dy, *, axis: (params, lax.all_gather(dy, "model")))
    assert [f.kind for f in report.findings][:1] == ["structure"]


def test_on_the_mesh_that_make_mesh_makes():
    sine = SimpleNamespace(fwd=lambda x: (jnp.sin(x), x), bwd=lambda x, d: jnp.cos(x) * d)
    explicit = jax.make_mesh((4,), ("d",), axis_types=(jax.sharding.AxisType.Explicit,))
    options = {"mesh": explicit, "in_specs": (P("d"),), "out_specs": P("d"), "reference": jnp.sin}
    assert verify.check_sharded(sine, np.ones((8, 5)), **options).ok
