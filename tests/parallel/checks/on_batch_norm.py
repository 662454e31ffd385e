"""Batch norm over devices: output, statistics and gradient are those of one device; one message each way."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

import jax_ref
from jax_ref import verify
from manual_bp.bridge import differentiable
from manual_bp.ops import batch_norm as one_device
from manual_bp.parallel import axes, batch_norm, data
from tests.close import close
from tests.parallel.meshes import compiled, copies, mesh, on, sent

CHANNELS = 3
MESHES = {"d": {"d": 4}, ("a", "b"): {"a": 2, "b": 2}}


def drawn(each, *, bias=True, dtype: Any = np.float64, offset=0.0):
    """Params, images of four devices whose means differ, and the cotangents of the three outputs."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4 * each, 3, 1, CHANNELS)) + np.repeat(rng.normal(size=4), each).reshape(-1, 1, 1, 1)
    g, b, dm, dv = (jnp.asarray(rng.normal(size=CHANNELS), dtype) for _ in range(4))
    dy = jnp.asarray(rng.normal(size=x.shape), dtype)
    params = one_device.Params(g, b if bias else None)
    return params, jnp.asarray(x + offset, dtype), (dy, one_device.Statistics(dm, dv))


def over(axis, params, x, d_output, *, check_vma=True, **static):
    """A program for the outputs and the cotangents."""
    of_outputs = P(axis), P()

    def local(params, x, d_output):
        output, res = batch_norm.fwd(params, x, axis=axis, **static)
        d_params, dx = batch_norm.bwd(params, res, d_output, axis=axis, **static)
        return output, data.all_reduce(d_params, axis=axis), dx

    specs, out_specs = (P(), P(axis), of_outputs), (of_outputs, P(), P(axis))
    return compiled(
        on(mesh(**MESHES[axis]), local, specs, out_specs, check_vma=check_vma), params, x, d_output
    )


def oracle(params, x, d_output, **static):
    outputs, pull = jax.vjp(partial(jax_ref.ops.batch_norm.apply, **static), params, x)
    return outputs, *pull(type(outputs)((d_output[0], type(outputs[1])(*d_output[1]))))


@pytest.mark.parametrize(
    ("axis", "each", "bias", "check_vma"),
    [
        ("d", 1, True, True),
        (("a", "b"), 3, False, True),
        pytest.param("d", 2, True, False, marks=pytest.mark.slow),
    ],
)
def test_it_is_batch_norm_of_all_entries(axis, each, bias, check_vma):
    args = drawn(each, bias=bias)
    program = over(axis, *args, check_vma=check_vma, eps=1e-3)
    found = program(*args)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(oracle(*args, eps=1e-3)), strict=True):
        close(a, b, 1e-12)
    for leaf in found[0][1]:
        for copy in copies(leaf):
            np.testing.assert_array_equal(copy, copies(leaf)[0])


def test_one_message_each_way():
    args = drawn(2)
    kinds = sorted(c.kind for c in sent(over("d", *args)))
    assert kinds == ["all-gather", "all-reduce"]  # that of the params in the same


def test_behind_an_offset_it_keeps_its_digits():
    """300 standard deviations from zero float32 has 5 digits, of what is left as many as without."""
    params, x, d_output = drawn(8, dtype=np.float32, offset=300.0)
    found = over("d", params, x, d_output)(params, x, d_output)
    wide = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), (params, x, d_output))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(oracle(*wide)), strict=True):
        close(a.astype(jnp.float64), b, 1e-6)


def test_equal_entries_leave_nothing():
    params, x, d_output = drawn(2, dtype=np.float32)
    x = jnp.full_like(x, 0.1)
    ((y, statistics), _, _) = over("d", params, x, d_output)(params, x, d_output)
    assert jnp.array_equal(y, jnp.broadcast_to(jnp.asarray(params.b), y.shape))
    assert not statistics.var.any()


def test_without_an_axis_it_is_the_op():
    params, x, d_output = drawn(1)
    output, res = batch_norm.fwd(params, x, axis=None)
    expected, res_op = one_device.fwd(params, x)
    found = output, batch_norm.bwd(params, res, d_output, axis=None)
    for a, b in zip(
        jax.tree.leaves(found),
        jax.tree.leaves((expected, one_device.bwd(params, res_op, d_output))),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_a_differentiable_one_in_a_users_loss():
    params, x, _ = drawn(3)
    op = differentiable(batch_norm)

    def loss(params, x):
        y, (mean, var) = op(params, x, axis="d")
        return jax.lax.pmean(jnp.mean(jnp.sin(y)), "d") + jnp.sum(mean * var)

    def plain(params, x):
        y, (mean, var) = jax_ref.ops.batch_norm.apply(params, x)
        return jnp.mean(jnp.sin(y)) + jnp.sum(mean * var)

    whole = on(mesh(d=4), loss, (P(), P("d")), P())
    close(jax.grad(whole, (0, 1))(params, x), jax.grad(plain, (0, 1))(params, x), 1e-12)


class Whole:
    """As a pair of replicated params, whose cotangents are wanted whole."""

    @staticmethod
    def fwd(params, x, *, axis):
        return batch_norm.fwd(axes.vary(params, axis), x, axis=axis)

    @staticmethod
    def bwd(params, res, d_output, *, axis):
        d_params, dx = batch_norm.bwd(params, res, d_output, axis=axis)
        return data.all_reduce(d_params, axis=axis), dx


class OfOneShard(Whole):
    """As `Whole`, but dx by the sums of this device's entries alone."""

    @staticmethod
    def bwd(params, res, d_output, *, axis):
        d_params, dx = one_device.bwd(params, res, d_output)
        return data.all_reduce(d_params, axis=axis), dx


@pytest.mark.parametrize(("pair", "wrong"), [(Whole, set()), (OfOneShard, {"x"})])
def test_the_verifier_tells_it_from_that_of_one_shard(pair, wrong):
    params, x, _ = drawn(2)
    report = verify.check_sharded(
        pair, params, x, mesh=mesh(d=4), in_specs=(P(), P("d")),
        out_specs=(P("d"), P()), reference=jax_ref.ops.batch_norm.apply, axis="d",
    )  # fmt: skip
    assert {finding.path for finding in report.findings} == wrong, str(report)
