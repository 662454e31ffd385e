"""What is said of bad use: the op, the argument, what it was and what was expected."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from manual_bp.models import mlp
from manual_bp.ops import dense, embedding, squared_error
from manual_bp.parallel import collectives, data, fsdp, pipeline, sequence, tensor
from tests.parallel.meshes import mesh, on

X, W = jnp.ones((4, 12)), dense.Params(jnp.ones((12, 8)), jnp.ones(8))


def exactly(text):
    """The pattern of a whole line: JAX adds others."""
    return f"(?m)^{re.escape(text)}$"


WHOLE: Any = P()
SPLIT: Any = P("data")


def raises(text, f, *args, in_specs=WHOLE, out_specs=SPLIT):
    with pytest.raises(ValueError, match=exactly(text)):
        on(mesh(data=2, model=2), f, in_specs, out_specs)(*args)


@pytest.mark.parametrize("pair", ["column", "row"])
def test_an_axis_that_is_not_there(pair):
    raises(
        f"tensor.{pair}: axis was 'modle'; did you mean 'model'? Known: data, model",
        lambda w, x: getattr(tensor, pair).fwd(w, x, axis="modle")[0],
        W, X, in_specs=(P(), P()),
    )  # fmt: skip


def test_no_mesh():
    text = "tensor.column: axis was 'model', and there is no mesh here: call it inside jax.shard_map"
    with pytest.raises(ValueError, match=exactly(text)):
        jax.jit(lambda w, x: tensor.column.fwd(w, x, axis="model")[0])(W, X)


def test_an_axis_of_the_mesh_that_is_not_manual():
    text = "copy: axis 'model' is not manual here: name it in axis_names of jax.shard_map"
    f = jax.shard_map(
        lambda x: collectives.copy.fwd(x, axis="model")[0],
        mesh=mesh(data=2, model=2), in_specs=P(), out_specs=P(), axis_names={"data"},
    )  # fmt: skip
    with pytest.raises(ValueError, match=exactly(text)):
        jax.jit(f)(X)


def test_features_that_do_not_divide():
    text = (
        "tensor.column: params.w has shape (12, 30) before splitting; expected 30 to divide by 4, the size "
        "of mesh axis 'model'"
    )
    with pytest.raises(ValueError, match=exactly(text)):
        tensor.specs("column", dense.Params(jnp.ones((12, 30)), jnp.ones(30)), axis="model", size=4)
    text = "tensor.row: params.w has shape (30, 12) before splitting; expected 30 to divide by 4"
    with pytest.raises(ValueError, match=re.escape(text)):
        tensor.specs("row", dense.Params(jnp.ones((30, 12)), None), axis="model", size=4)
    text = "tensor.embedding: params.table has shape (7, 2) before splitting; expected 7 to divide by 2"
    with pytest.raises(ValueError, match=re.escape(text)):
        tensor.specs("embedding", embedding.Params(jnp.ones((7, 2))), axis="model", size=2)
    with pytest.raises(ValueError, match=r"tensor.specs: kind was 'colum'; did you mean 'column'"):
        tensor.specs("colum", W, axis="model", size=2)


def test_a_second_sum():
    params = mlp.init(jax.random.key(0), [12, 3])

    def twice(params, x):
        _, grads = data.value_and_grad(mlp, params, (x, jnp.zeros(len(x), int)), axis="data")
        return data.all_reduce(grads, axis="data")

    raises(
        "data.all_reduce: grads.layers[0].w does not vary over mesh axis 'data': it is summed already, and a "
        "second sum would make it 2 times as large",
        twice, params, X.astype(jnp.float32), in_specs=(P(), P("data")), out_specs=P(),
    )  # fmt: skip


@pytest.mark.parametrize("pair", ["all_reduce", "reduce_scatter"])
def test_a_sum_of_what_is_the_same_on_all_devices(pair):
    raises(
        f"{pair}: x does not vary over mesh axis 'data': it is summed already, and a second sum would make "
        "it 2 times as large",
        lambda x: getattr(collectives, pair).fwd(x, axis="data")[0], X,
    )  # fmt: skip


@pytest.mark.parametrize("pair", ["reduce_scatter", "all_to_all"])
def test_parts_that_do_not_divide(pair):
    raises(
        f"{pair}: x has shape (3, 2); expected 3 to divide by 2, the size of mesh axis 'data'",
        lambda x: getattr(collectives, pair).fwd(x, axis="data")[0],
        jnp.ones((6, 2)), in_specs=P("data"),
    )  # fmt: skip


@pytest.mark.parametrize("dim", [2, -1])
def test_a_dimension_that_is_not_there(dim):
    raises(
        f"all_gather: dim was {dim}; expected an axis of x, which has shape (2, 12), counted from 0",
        lambda x: collectives.all_gather.fwd(x, axis="data", dim=dim)[0], X, in_specs=P("data"),
    )  # fmt: skip


def test_a_wire_that_is_not_there():
    raises(
        "data.all_reduce: wire was 'bfloat'; did you mean 'bfloat16'? Known: bfloat16, int8, native",
        lambda x: data.all_reduce(x, axis="data", wire="bfloat"), X, in_specs=P("data"), out_specs=P(),
    )  # fmt: skip
    raises(
        "data.all_reduce: axis was ('data', 'model'); expected one name for wire='int8'",
        lambda x: data.all_reduce(x, axis=("data", "model"), wire="int8"), X,
        in_specs=P(("data", "model")), out_specs=P(),
    )  # fmt: skip


def test_feedback_of_another_message():
    raises(
        "data.all_reduce: feedback has shape (1, 7); expected (1, 24), the shape of this device's row of "
        "no_feedback",
        lambda x, e: data.all_reduce(x, axis="data", wire="int8", feedback=e),
        X, jnp.zeros((2, 7)), in_specs=(P("data"), P("data")), out_specs=(P(), P("data")),
    )  # fmt: skip
    with pytest.raises(ValueError, match='expected None, as wire="native" rounds nothing'):
        on(mesh(data=2), lambda x: data.all_reduce(x, axis="data", feedback=x), P("data"), (P(), P("data")))(
            X
        )


def test_a_layout_of_other_params():
    params = {"a": X, "b": X}
    layout = fsdp.layout({"a": X}, 2)
    for f, name in ((fsdp.gather, "params"), (fsdp.scatter, "grads")):
        raises(
            f"fsdp.{f.__name__}: {name} and layout have different trees; expected the layout of these params",
            lambda p, f=f: f(p, layout, axis="data"), params, in_specs=P("data"),
        )  # fmt: skip


def test_gradients_of_a_part_in_place_of_the_whole():
    raises(
        "fsdp.scatter: leaf 0 of grads has shape (1, 12); expected its dimension 0 to divide by 2, the size "
        "of mesh axis 'data'",
        lambda x: fsdp.scatter(x, 0, axis="data"), jnp.ones((2, 12)), in_specs=P("data"),
    )  # fmt: skip


@pytest.mark.parametrize("size", [0, 1.5, True])
def test_a_size_that_is_none(size):
    with pytest.raises(ValueError, match=f"fsdp.layout: size was {size}; expected a positive integer"):
        fsdp.layout({"a": X}, size)


def test_narrow_wires_need_floating_point():
    with pytest.raises(TypeError, match=r"data.all_reduce: grads, leaf 0 has dtype int"):
        on(mesh(data=2), lambda x: data.all_reduce(x, axis="data", wire="int8"), P("data"), P())(
            np.zeros((2, 3), int)
        )


def test_unequal_parts_of_time():
    raises(
        "ring_attention: k has 5 keys here and q 6 queries; expected equal parts of time on every device",
        lambda q, k: sequence.ring_attention.fwd(q, k, k, axis="data")[0],
        jnp.ones((1, 12, 2, 4)), jnp.ones((1, 10, 2, 4)),
        in_specs=(P(None, "data"), P(None, "data")), out_specs=P(None, "data"),
    )  # fmt: skip


def test_orders_of_time():
    q = jnp.ones((1, 6, 2, 4))

    def with_order(order):
        return lambda q: sequence.ring_attention.fwd(q, q, q, axis="data", causal=True, order=order)[0]

    time = P(None, "data")
    raises(
        "ring_attention: order was 'balance'; did you mean 'balanced'? Known: balanced, contiguous",
        with_order("balance"), q, in_specs=time, out_specs=time,
    )  # fmt: skip
    raises(
        'ring_attention: there are 3 times here; expected an even number for order="balanced"',
        with_order("balanced"), q, in_specs=time, out_specs=time,
    )  # fmt: skip
    text = "sequence.balanced: there are 6 times; expected a number that divides by 4, twice the devices"
    with pytest.raises(ValueError, match=exactly(text)):
        sequence.balanced(q, 2)


class Grows:
    """A stage that does not keep the shape."""

    @staticmethod
    def fwd(params, x):
        return jnp.concatenate([x, x[..., :2]], -1), None

    @staticmethod
    def bwd(params, res, dy):
        return params, dy[..., :-2]


def test_stages_and_microbatches():
    text = "pipeline: 6 blocks and 4 stages; expected blocks to divide by stages"
    with pytest.raises(ValueError, match=exactly(text)):
        pipeline.specs({"w": jnp.ones((6, 2))}, axis="stage", size=4)
    with pytest.raises(ValueError, match="pipeline: microbatches was 0; expected a positive integer"):
        pipeline.schedule(2, 0)

    def run(xs, targets):
        return pipeline.one_f_one_b(Grows, X, xs, targets, squared_error, axis="data")[0]

    for xs, targets, text in [
        (jnp.ones((0, 2, 5)), jnp.ones((0, 2, 5)), "pipeline: xs has no microbatch: its shape is (0, 2, 5); "
         "expected (microbatches, b, ...)"),
        (jnp.ones((3, 2, 10)), jnp.ones((3, 2, 10)),
         "pipeline: stage returned (2, 12) for (2, 10); a stage keeps the shape"),
        (jnp.ones((3, 2, 10)), jnp.ones((4, 2, 10)),
         "pipeline: targets has shape (4, 2, 10); expected 3 microbatches, as xs has"),
    ]:  # fmt: skip
        raises(text, run, xs, targets, in_specs=(P(), P()), out_specs=P())
