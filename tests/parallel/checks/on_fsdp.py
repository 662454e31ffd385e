"""FSDP over a scan of layers: the gradient of one device, one message each way, the whole let go."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

import jax_ref
from manual_bp.ops import activations, dense, layer_norm
from manual_bp.parallel import data, fsdp
from tests.close import close
from tests.parallel.meshes import compiled, mesh, on, put, sent

LAYERS, WIDTH, HIDDEN = 3, 6, 8


class Block:
    """x + tanh(norm(x) W + b) V: params of whole and of odd lengths, one of them None."""

    @staticmethod
    def fwd(params, x):
        norm, up, down = params
        n, res_norm = layer_norm.fwd(norm, x)
        z, res_up = dense.fwd(up, n)
        a, res_a = activations.tanh.fwd(z)
        y, res_down = dense.fwd(down, a)
        return x + y, (res_norm, res_up, res_a, res_down)

    @staticmethod
    def bwd(params, res, dy):
        norm, up, down = params
        d_down, da = dense.bwd(down, res[3], dy)
        d_up, dn = dense.bwd(up, res[1], activations.tanh.bwd(res[2], da))
        d_norm, dx = layer_norm.bwd(norm, res[0], dn)
        return (d_norm, d_up, d_down), dy + dx


def drawn(layers=LAYERS, width=WIDTH, hidden=HIDDEN, dtype=np.float64):
    rng = np.random.default_rng(0)

    def normal(*shape):
        return jnp.asarray(rng.normal(size=(layers, *shape)) / width, dtype)

    return (
        layer_norm.Params(1 + normal(width), normal(width)),
        dense.Params(normal(width, hidden), normal(hidden)),
        dense.Params(normal(hidden, width), None),
    )


def plain(params, x):
    def layer(x, of_layer):
        norm, up, down = of_layer
        a = jnp.tanh(jax_ref.ops.dense.apply(up, jax_ref.ops.layer_norm.apply(norm, x)))
        return x + jax_ref.ops.dense.apply(down, a), None

    return jax.lax.scan(layer, x, params)[0]


def of_one(params):
    return jax.eval_shape(lambda p: jax.tree.map(lambda x: x[0], p), params)


def step_on(n, params, *, check_vma=True, **axes):
    """A step (params, x, dy) -> (y, d_params, dx), and the specs of the params."""
    layout = fsdp.layout(of_one(params), n)
    specs = fsdp.specs(layout, "d", stacked=True)

    def step(params, x, dy):
        y, res = fsdp.layers.fwd(params, x, layer=Block, layout=layout, axis="d")
        return y, *fsdp.layers.bwd(params, res, dy, layer=Block, layout=layout, axis="d")

    f = on(mesh(d=n), step, (specs, P("d"), P("d")), (P("d"), specs, P("d")), check_vma=check_vma)
    return f, specs


@pytest.mark.parametrize(
    ("n", "layers", "width", "check_vma"),
    [
        (4, 3, 6, True),
        *(
            pytest.param(*c, marks=pytest.mark.slow)
            for c in [(1, 3, 6, True), (4, 1, 7, False), (3, 2, 9, True)]
        ),
    ],
)
def test_layers_have_the_gradient_of_one_device(n, layers, width, check_vma):
    params, rng = drawn(layers, width), np.random.default_rng(1)
    x, dy = (jnp.asarray(rng.normal(size=(3 * n, 5, width))) for _ in range(2))
    f, specs = step_on(n, params, check_vma=check_vma)
    y, vjp = jax.vjp(plain, params, x)
    close(f(put(params, specs, mesh(d=n)), x, dy), (y, *vjp(dy)), 1e-12)


def test_layout_splits_the_first_that_divides():
    shapes = {"a": (6, 8), "b": (9, 12), "c": (8, 12), "d": (7,), "f": ()}
    shapes = {name: jnp.zeros(shape) for name, shape in shapes.items()} | {"e": None}
    assert fsdp.layout(shapes, 4) == {"a": 1, "b": 1, "c": 0, "d": None, "e": None, "f": None}
    assert fsdp.specs(fsdp.layout(shapes, 4), "d")["b"] == P(None, "d")
    assert fsdp.specs(fsdp.layout(shapes, 4), "d", stacked=True)["c"] == P(None, "d")


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_gather_and_scatter_are_transposes(dtype):
    rng = np.random.default_rng(2)
    whole = {
        "a": rng.normal(size=(4, 3)),
        "b": rng.normal(size=(5, 8)).astype(dtype),
        "c": rng.normal(size=3),
        "large": rng.normal(size=(63, 4, 65)),
    }
    whole = jax.tree.map(jnp.asarray, whole)
    layout = fsdp.layout(whole, 4)
    specs = fsdp.specs(layout, "d")
    everywhere = jax.tree.map(lambda x: P("d"), whole)
    gather = on(
        mesh(d=4),
        lambda x: jax.tree.map(lambda y: y[None], fsdp.gather(x, layout, axis="d")),
        (specs,),
        everywhere,
    )
    for name, rows in gather(whole).items():
        for row in rows:
            np.testing.assert_array_equal(row, whole[name])
    d = jax.tree.map(lambda x: jnp.asarray(rng.normal(size=(4, *x.shape)), x.dtype), whole)
    scatter = on(
        mesh(d=4),
        lambda d: fsdp.scatter(jax.tree.map(lambda x: x[0], d), layout, axis="d"),
        (everywhere,),
        specs,
    )
    for name, x in scatter(d).items():
        np.testing.assert_allclose(x, d[name].sum(0), rtol=100 * np.finfo(d[name].dtype).eps)


def test_one_message_each_way_and_its_bytes():
    params = drawn(width=8)
    f, _ = step_on(4, params)
    x = jnp.zeros((4, 2, 8))
    found = sent(compiled(f, params, x, x))
    numbers = sum(leaf[0].size for leaf in jax.tree.leaves(params))
    wanted = [("all-gather", LAYERS), ("all-gather", LAYERS), ("reduce-scatter", LAYERS)]
    assert sorted((c.kind, c.times) for c in found) == wanted
    assert {c.bytes for c in found} == {3 / 4 * 8 * numbers}


def test_a_large_leaf_is_a_message_of_its_own():
    whole = {"a": jnp.zeros((4, 3)), "b": jnp.zeros((3, 4)), "w": jnp.zeros((256, 64)), "z": jnp.zeros(4)}
    assert whole["w"].nbytes == fsdp.ALONE
    layout = fsdp.layout(whole, 4)
    specs = fsdp.specs(layout, "d")

    def there_and_back(x):
        return fsdp.scatter(fsdp.gather(x, layout, axis="d"), layout, axis="d")

    found = sent(compiled(on(mesh(d=4), there_and_back, (specs,), specs), put(whole, specs, mesh(d=4))))
    sizes = [3 / 4 * 8 * (12 + 12 + 4), 3 / 4 * fsdp.ALONE]
    assert [
        sorted(c.bytes for c in found if c.kind == kind) for kind in ("all-gather", "reduce-scatter")
    ] == [
        sizes,
        sizes,
    ]


def test_the_whole_params_are_not_kept():
    """The memory of a step grows less with a layer than that layer has params."""
    temporary = {}
    for layers in (2, 10):
        params = drawn(layers, 32, 64)
        f, _ = step_on(4, params)
        x = jnp.zeros((4, 1, 32))
        memory: Any = f.lower(params, x, x).compile().memory_analysis()
        temporary[layers] = memory.temp_size_in_bytes
    a_layer = sum(leaf[0].nbytes for leaf in jax.tree.leaves(drawn(1, 32, 64)))
    assert (temporary[10] - temporary[2]) / 8 < a_layer / 2


def test_mean_over_the_shards_with_data():
    """A cost: its 1/B is that of all shards, and a leaf that is not split is summed too."""
    params, rng = drawn(width=7), np.random.default_rng(3)
    x = jnp.asarray(rng.normal(size=(8, 7)))
    layout = fsdp.layout(of_one(params), 4)
    specs = fsdp.specs(layout, "d", stacked=True)

    class Model:
        @staticmethod
        def value_and_grad(params, x, *, dcost):
            y, res = fsdp.layers.fwd(params, x, layer=Block, layout=layout, axis="d")
            d_params, _ = fsdp.layers.bwd(
                params, res, 2 * y * (dcost / y.size), layer=Block, layout=layout, axis="d"
            )
            return jnp.mean(y**2), d_params

    def step(params, x):
        n = jax.lax.axis_size("d")
        cost, grads = Model.value_and_grad(params, x, dcost=1 / n)
        return data.all_reduce(cost / n, axis="d"), grads

    found = on(mesh(d=4), step, (specs, P("d")), (P(), specs))(params, x)
    close(found, jax.value_and_grad(lambda p: jnp.mean(plain(p, x) ** 2))(params), 1e-12)
